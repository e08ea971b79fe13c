"""Online calls beside a job on the same instance: their latency and its speed, with and without the other.

One worker, one instance; calls come one at a time with a short pause. That a call waits for one batch of a job at most
is a matter of order, and tested in tests/unit/worker/test_loaded.py; here are figures.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.lane import delays
from bench.lane.verdicts import Bound, conclude, table
from bench.processes import clean_up_on_termination
from bench.suite import running
from modelyard import Client
from modelyard.deployment import InstanceOptions
from modelyard.jobs.states import JobState
from tests import models

PAUSE_S = 0.02
MS_PER_ROW, BATCH_ROWS = 2.0, 16
MLP_WIDTH = 64
SLACK_MS = 100.0
"""What scheduling on a machine with other work may add to a batch, at the median."""


@dataclass(frozen=True)
class Case:
    """A model, how wide its rows are, and the rows of its job."""

    model: str
    width: int
    rows: int
    options: InstanceOptions


class Calls:
    """Calls that go on, one at a time, until they are stopped."""

    def __init__(self, client: Client, case: Case) -> None:
        self.latencies_ms: list[float] = []
        self._row = {"x": np.zeros((1, case.width), np.float32)}
        self._client, self._model = client, case.model
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._call)

    def __enter__(self) -> Calls:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _call(self) -> None:
        while not self._done.wait(PAUSE_S):
            began_s = time.perf_counter()
            self._client.infer(self._model, self._row)
            self.latencies_ms.append((time.perf_counter() - began_s) * 1e3)

    def summary(self, when: str) -> dict[str, Any]:
        """How many there were, and their p50 and p99."""
        p50, p99 = map(float, np.percentile(self.latencies_ms, [50, 99]))
        return {"calls": when, "count": len(self.latencies_ms), "p50_ms": round(p50, 2), "p99_ms": round(p99, 2)}


def job_s(client: Client, case: Case, rows: Path) -> float:
    """From the beginning of a job to its end."""
    job = client.jobs.wait(client.jobs.submit(case.model, rows))
    if job.state is not JobState.SUCCEEDED:
        raise RuntimeError(f"job {job.id}: {job.state} {job.reason}")
    return job.end_time_s - job.start_time_s


def beside(client: Client, case: Case, when: str, work: Callable[[], Any]) -> tuple[dict[str, Any], Any]:
    """Call while something is done."""
    with Calls(client, case) as calls:
        found = work()
    return calls.summary(when), found


def measure(client: Client, case: Case, directory: Path, seconds: float) -> dict[str, Any]:
    """All of one case."""
    client.deploy(case.model, options=case.options)
    rows, few = directory / f"{case.model}.npy", directory / "few.npy"
    np.save(few, np.zeros((256, case.width), np.float32))
    np.save(rows, np.zeros((case.rows, case.width), np.float32))
    job_s(client, case, few)
    alone, _ = beside(client, case, "alone", lambda: time.sleep(seconds))
    undisturbed_s = job_s(client, case, rows)
    shared, disturbed_s = beside(client, case, "beside the job", lambda: job_s(client, case, rows))
    rates = {"alone": round(case.rows / undisturbed_s), "beside calls": round(case.rows / disturbed_s)}
    table([{"model": case.model} | one for one in (alone, shared)])
    table([{"model": case.model, "job, rows/s": when, "": rate} for when, rate in rates.items()])
    return {"model": case.model, "online": [alone, shared], "job_rows_per_s": rates}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0, help="of the job with delays, and of the calls alone")
    parser.add_argument("--mlp-rows", type=int, default=300_000)
    options = parser.parse_args()
    clean_up_on_termination()
    with (
        tempfile.TemporaryDirectory() as scratch,
        running(delays=True) as suite,
        Client(suite.address) as client,
    ):
        directory = Path(scratch)
        delays.push(client, "delayed", directory, MS_PER_ROW)
        client.push("mlp", models.save(models.mlp(), directory / "mlp.onnx"))
        few = round(options.seconds * 1e3 / MS_PER_ROW)
        cases = [
            Case("delayed", delays.WIDTH, few, InstanceOptions(max_batch_size=BATCH_ROWS)),
            Case("mlp", MLP_WIDTH, options.mlp_rows, InstanceOptions(threads=1)),
        ]
        found = [measure(client, case, directory, options.seconds) for case in cases]
    alone, shared = found[0]["online"]
    added_ms = shared["p50_ms"] - alone["p50_ms"]
    most_ms = BATCH_ROWS * MS_PER_ROW + SLACK_MS
    facts = {"batch_ms": BATCH_ROWS * MS_PER_ROW, "models": found}
    conclude(facts, [Bound("ms that a job adds to the median of calls, with delays", added_ms, most=most_ms)])


if __name__ == "__main__":
    main()
