"""A regression, from data to served answers: what `make example-regression` runs."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from examples.regression import data
from examples.suite import console, run
from examples.training import Task, serve
from modelyard import TrainingJobOptions
from modelyard.aio import Client

MODEL = "regression"
OPTIONS = TrainingJobOptions(target="clean", epochs=20, batch_size=64, workers=2)
LEAST_SHARE = 0.75
"""Of the noise's mean square at least so much must be gone."""


async def tour(address: str, directory: Path) -> list[str]:
    """Write the data, train, deploy, ask; return what went wrong."""
    return await serve(address, Task(MODEL, Path(__file__).parent, *data.write(directory), OPTIONS), measure)


async def measure(client: Client, held_out: Path) -> list[str]:
    """Send held-out signals; print how much of the noise is left."""
    signals = np.load(held_out)
    answers = await client.infer(MODEL, {"input": signals["noisy"]})
    before, after = (float(np.mean((found - signals["clean"]) ** 2)) for found in (signals["noisy"], answers["output"]))
    gone = 1 - after / before
    asked = len(signals["noisy"])
    console.print(f"[bold]served[/] {asked} signals: mean square error {before:.3f} with noise, {after:.3f} without")
    return [f"of the noise {gone:.0%} is gone, which is less than {LEAST_SHARE:.0%}"] * (gone < LEAST_SHARE)


if __name__ == "__main__":
    sys.exit(run(tour))
