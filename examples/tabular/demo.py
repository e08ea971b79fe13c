"""A table with classes of different sizes, from CSV to served answers: what `make example-tabular` runs."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from examples.suite import console, run
from examples.tabular import data
from examples.training import Task, serve
from modelyard import TrainingJobOptions
from modelyard.aio import Client
from modelyard.train.data.opening import TableOptions, open_table

MODEL = "tabular"
OPTIONS = TrainingJobOptions(target="diagnosis", epochs=20, batch_size=32, workers=2)
LEAST = 0.9
RARE = b"malignant"


async def tour(address: str, directory: Path) -> list[str]:
    """Write the data, train, deploy, ask; return what went wrong."""
    return await serve(address, Task(MODEL, Path(__file__).parent, *data.write(directory), OPTIONS), measure)


async def measure(client: Client, held_out: Path) -> list[str]:
    """Send held-out rows in the units of the table; print how many of all, and of the rarer class, are found."""
    table = open_table(held_out, TableOptions(target="diagnosis"))
    columns = table.columns()
    truth = columns.pop("diagnosis")
    answers = await client.infer(MODEL, {name: values.astype(np.float32) for name, values in columns.items()})
    right = answers["label"] == truth
    accuracy, recall = float(right.mean()), float(right[truth == RARE].mean())
    console.print(f"[bold]served[/] {len(table)} rows by column: accuracy {accuracy:.1%}, malignant found {recall:.1%}")
    console.print(f"  the first is {truth[0].decode()}: {answers['label'][0].decode()} ({answers['score'][0]:.1%})")
    found = {"accuracy": accuracy, "recall": recall}
    return [f"{name} {value:.1%} is below {LEAST:.0%}" for name, value in found.items() if value < LEAST]


if __name__ == "__main__":
    sys.exit(run(tour))
