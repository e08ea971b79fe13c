"""Film reviews, from text to a model that takes text: what `make example-reviews` runs.

    python -m examples.reviews.demo [--data REVIEWS]        (which data.py describes)

From a shell the answer is had by

    modelyard infer reviews --input text="a great film"
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from examples.reviews import data
from examples.suite import console, modelyard, run
from examples.training import Task, train
from modelyard import TrainingJobOptions
from modelyard.aio import Client
from modelyard.train.data.opening import open_table
from modelyard.train.data.table import Table

MODEL = "reviews"
LEAST_ACCURACY = 0.8
ASKED = 1_000
"""So many held-out reviews are sent at most."""

BATCH = 200
OPTIONS = TrainingJobOptions(target="label", epochs=4, workers=2)
SMALL = replace(OPTIONS, epochs=6, workers=1, parameters={"length": 32})
"""For the made-up reviews, which are few and short."""

SHORT = {"a great film": "pos", "a dull film": "neg"}


async def tour(address: str, directory: Path, reviews: Path | None = None) -> list[str]:
    """Write the data, train, deploy, ask; return what went wrong."""
    written = data.write(directory, reviews)
    console.print(f"[bold]data[/] {written.source}")
    task = Task(MODEL, Path(__file__).parent, written.train, written.held_out, OPTIONS if reviews else SMALL)
    async with Client(address) as client:
        version = await train(client, task)
        await client.deploy(MODEL, version.version)
        problems = await measure(client, open_table(written.held_out))
    return problems + await asyncio.to_thread(ask, address, SHORT)


async def measure(client: Client, held_out: Table) -> list[str]:
    """Send held-out reviews as text; print how many labels are right."""
    columns = held_out.columns(range(0, len(held_out), -(-len(held_out) // ASKED)))
    right = 0
    for begin in range(0, len(columns["text"]), BATCH):
        rows = slice(begin, begin + BATCH)
        answers = await client.infer(MODEL, {"text": columns["text"][rows]})
        right += int(np.sum(answers["label"] == columns["label"][rows]))
    accuracy = right / len(columns["text"])
    asked = len(columns["text"])
    console.print(f"[bold]served[/] text in, label out: accuracy {accuracy:.1%} on {asked} reviews not seen before")
    return [f"accuracy {accuracy:.1%} is below {LEAST_ACCURACY:.0%}"] * (accuracy < LEAST_ACCURACY)


def ask(address: str, reviews: Mapping[str, str]) -> list[str]:
    """Ask for reviews, whose labels are known, on the command line; print what it answers."""
    problems = []
    for text, label in reviews.items():
        outputs = json.loads(modelyard("infer", MODEL, "--input", f"text={text}", "--address", address, "--json"))[
            "outputs"
        ]
        (said,), (score,) = outputs["label"]["data"], outputs["score"]["data"]
        console.print(f'[bold]$[/] modelyard infer {MODEL} --input text="{text}": {said} ({score:.1%})')
        problems += [f"{text!r} was labelled {said}"] * (said != label)
    return problems


def main() -> int:
    """Run the example; the exit status says whether all of it went well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="REVIEWS")
    reviews = parser.parse_args().data
    return run(partial(tour, reviews=reviews))


if __name__ == "__main__":
    sys.exit(main())
