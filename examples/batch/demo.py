"""A file in, a file out: a model, executed on every row of a CSV file, and one row that is no use.

What `make example-batch` runs: 360 images of digits with an id in a CSV file, of which one lacks a pixel. The rest
comes back as Parquet, with the ids. From a shell it is

    modelyard push batch_digits model.onnx
    modelyard jobs submit batch_digits images.csv --map 'pixels=*' --key id --watch
    modelyard jobs dead JOB                     # the row that was given up, and why
    modelyard jobs results JOB answers.parquet

The model is not deployed: workers load it as long as there is something to do.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pyarrow.parquet as pq

from examples.batch.classifier import Images, load, save, write_csv
from examples.suite import console, run
from modelyard import JobOptions
from modelyard.aio import Client
from modelyard.jobs.job import EventKind, Job

MODEL = "batch_digits"
DAMAGED = 41
"""The row that lacks a pixel."""
LEAST_ACCURACY = 0.93


async def classify(client: Client, images: Path) -> Job:
    """Have the newest version executed on all rows; return the job that has ended."""
    job = await client.jobs.submit(MODEL, images, JobOptions(columns={"pixels": "*"}, key_column="id"))
    console.print(f"[bold]submitted[/] {images.name} for {MODEL}@{job.spec.inference.version}, which is not deployed")
    async for event in client.jobs.watch(job):
        if event.kind is EventKind.STATE and event.job:
            console.print(f"  {event.job.state}")
    return await client.jobs.get(job)


async def dead_rows(client: Client, job: Job) -> list[str]:
    """Print which rows were given up; return what is wrong with that."""
    letters = await client.jobs.dead_letters(job)
    for letter in letters:
        console.print(f"[bold]given up[/] {letter.reason}")
    rows = [letter.row for letter in letters]
    return [f"rows {rows} were given up"] * (rows != [DAMAGED])


def compare(answers: Path, model: Path, images: Images) -> list[str]:
    """Print how good the answers are; return what is wrong with them."""
    table = pq.read_table(answers)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    local = dict(zip(images.ids, session.run(["digit"], {"pixels": images.pixels.astype(np.float32)})[0], strict=True))
    truth = dict(zip(images.ids, images.digits, strict=True))
    found = dict(zip(table["id"].to_pylist(), table["digit"].to_pylist(), strict=True))
    accuracy = sum(bool(found[name] == truth[name]) for name in found) / len(found)
    console.print(f"[bold]results[/] {answers.name}: {table.num_rows} rows of {', '.join(table.column_names)}")
    console.print(f"  accuracy {accuracy:.1%} on images that the model has not seen")
    expected = [name for number, name in enumerate(images.ids) if number != DAMAGED]
    problems = ["ids are missing, or in another order"] * (list(found) != expected)
    problems += ["answers differ from a local run"] * any(found[name] != local[name] for name in found)
    return problems + [f"accuracy {accuracy:.1%} is below {LEAST_ACCURACY:.0%}"] * (accuracy < LEAST_ACCURACY)


async def tour(address: str, directory: Path) -> list[str]:
    """Learn, push, submit, fetch, compare; return what went wrong."""
    learnt_from, others = load()
    model = save(learnt_from, directory / "model.onnx")
    images = write_csv(others, directory / "images.csv", DAMAGED)
    async with Client(address) as client:
        await client.push(MODEL, model, description="handwritten digits, 8x8 pixels from 0 to 16")
        job = await classify(client, images)
        problems = await dead_rows(client, job)
        await client.jobs.results(job, directory / "answers.parquet")
    return problems + await asyncio.to_thread(compare, directory / "answers.parquet", model, others)


if __name__ == "__main__":
    sys.exit(run(tour))
