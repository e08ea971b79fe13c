"""`python -m bench.train.joining`: from a worker's start to its first committed step in a job that runs.

A suite with one worker trains; a second one is started: its process, which imports what it needs, announces itself, is
given a place, starts a trainer, which gets code and data, joins the group and is healed. Aim: under 10 s.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
from pathlib import Path

import numpy as np

from bench.lane.workers import worker
from bench.processes import clean_up_on_termination
from bench.suite import running
from bench.train import stamped
from bench.train.job import load
from modelyard import Client
from modelyard.local.commands import Status
from modelyard.sdk.jobs.training_options import TrainingJobOptions
from tests.waiting import wait_until

TURNS = 5
SAMPLES = 50
START_S = 120.0
CODE = "--allow-code=true"


def columns() -> dict[str, np.ndarray]:
    """Two to learn from, and one to be learnt."""
    numbers = np.arange(SAMPLES)
    return {"a": np.sin(numbers).astype(np.float32), "b": (numbers / 50).astype(np.float32), "number": numbers}


def joined(suite: Status, stamps: Path, turn: int) -> tuple[float, float]:
    """Start a worker; return after how many seconds it had announced itself, and committed its first step."""
    before = set(stamps.iterdir())
    with worker(suite, f"added-{turn}", flags=[CODE]) as added:
        (stamp,) = wait_until(lambda: [path for path in stamps.glob("*[0-9]") if path not in before], START_S)
        return added.announced_s - added.started_s, float(stamp.read_text()) - added.started_s


def main() -> None:
    """Print each turn and the median."""
    clean_up_on_termination()
    with (
        tempfile.TemporaryDirectory() as scratch,
        running(workers=0) as suite,
        Client(suite.address) as client,
        worker(suite, "first", flags=[CODE]),
    ):
        code, stamps = Path(scratch) / "code", Path(scratch) / "stamps"
        code.mkdir()
        stamps.mkdir()
        shutil.copy(stamped.__file__, code / "recipe.py")
        given = {"stamps": str(stamps)}
        options = TrainingJobOptions(parameters=given, target="number", epochs=1_000_000, batch_size=10, workers=2)
        job = client.jobs.train("numbers", code, columns(), options)
        wait_until(lambda: list(stamps.glob("*[0-9]")), START_S)
        found = []
        for turn in range(TURNS):
            announced_s, committed_s = joined(suite, stamps, turn)
            found.append(committed_s)
            print(f"worker {turn}: announced after {announced_s:.1f} s, first committed step after {committed_s:.1f} s")
        client.jobs.wait(client.jobs.cancel(job))
    print(f"median {statistics.median(found):.1f} s, {min(found):.1f} to {max(found):.1f} s (aim < 10 s); {load()}")


if __name__ == "__main__":
    main()
