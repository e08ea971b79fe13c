"""Whether a dataset that is far larger takes more memory: what each program has resident at most during a job.

One suite of two workers and a cheap model. Some jobs of a tenth of the rows come first, one after the other, so that
what jobs leave behind shows, too; then comes one of all rows. Each uploads its dataset and fetches its results. The
peaks are the kernel's (VmHWM), of the process of a program that has most; this one, the client, among them.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bench.lane.verdicts import Bound, conclude, table
from bench.processes import clean_up_on_termination, forget_peaks, peak_by_program
from bench.suite import running
from modelyard import Client
from modelyard.deployment import InstanceOptions
from modelyard.jobs.states import JobState
from tests import models

MODEL, WIDTH, OUTPUTS = "cheap", 1024, 256
PARTS, SMALL_JOBS, WORKERS = 10, 3, 2
BLOCK_ROWS = 4096
LOOK_S = 0.1
MOST = 1.3
OURS = ("modelyard", "bench")


def write_rows(path: Path, rows: int) -> Path:
    """An npy file FP32 [rows, WIDTH] of which no two blocks are the same, written block by block."""
    block = np.random.default_rng(rows).standard_normal((BLOCK_ROWS, WIDTH), dtype=np.float32)
    with path.open("wb") as out:
        header = {"descr": "<f4", "fortran_order": False, "shape": (rows, WIDTH)}
        np.lib.format.write_array_header_1_0(out, header)
        for at in range(0, rows, BLOCK_ROWS):
            block[:, 0] = np.arange(at, at + BLOCK_ROWS)
            out.write(block[: min(BLOCK_ROWS, rows - at)].tobytes())
    return path


@contextmanager
def peaks(suite_pid: int) -> Iterator[dict[str, int]]:
    """The most bytes that each program has in this scope; processes that come and go are looked at again and again."""
    most: dict[str, int] = {}
    ended, pids = threading.Event(), [suite_pid, os.getpid()]

    def look() -> None:
        for name, size in peak_by_program(pids).items():
            most[name] = max(most.get(name, 0), size)

    def watch() -> None:
        while not ended.wait(LOOK_S):
            look()

    forget_peaks(pids)
    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield most
    finally:
        ended.set()
        thread.join()
        look()


def executed(client: Client, directory: Path, rows: int) -> float:
    """Execute a job of so many rows and fetch its results; return the seconds from its submission to its end."""
    data, results = write_rows(directory / "rows.npy", rows), directory / "results.parquet"
    done = client.jobs.wait(client.jobs.submit(MODEL, data))
    if done.state is not JobState.SUCCEEDED or done.progress.done_rows != rows:
        raise RuntimeError(f"job {done.id}: {done.state} {done.reason}, {done.progress}")
    client.jobs.results(done, results)
    data.unlink()
    results.unlink()
    return done.end_time_s - done.create_time_s


def measure(rows: Sequence[int]) -> list[dict[str, Any]]:
    """The peaks of jobs of so many rows each, in MiB by program."""
    found = []
    with tempfile.TemporaryDirectory() as scratch, running(workers=WORKERS) as suite, Client(suite.address) as client:
        directory = Path(scratch)
        client.push(MODEL, models.save(models.mlp((WIDTH, OUTPUTS)), directory / "model.onnx"))
        client.deploy(MODEL, replicas=WORKERS, options=InstanceOptions(threads=1), timeout_s=120)
        for count in rows:
            with peaks(suite.pid) as most:
                took_s = executed(client, directory, count)
            mib = {name: round(size / (1 << 20), 1) for name, size in sorted(most.items())}
            found.append({"rows": count, "dataset_mib": count * WIDTH * 4 >> 20, "job_s": round(took_s, 1), "mib": mib})
    return found


def bounds(jobs: Sequence[Mapping[str, Any]]) -> list[Bound]:
    """No program of ours has much more for the large job than for the small ones."""
    *small, large = (job["mib"] for job in jobs)
    ours = sorted(name for name in large if name.startswith(OURS))
    return [
        Bound(
            f"{name}, its peak to that with a tenth of the rows",
            large[name] / max(s.get(name, 0.1) for s in small),
            most=MOST,
        )
        for name in ours
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bytes", type=int, default=3 << 30, help="of the large dataset")
    options = parser.parse_args()
    clean_up_on_termination()
    rows = options.bytes // (WIDTH * 4)
    jobs = measure([*(rows // PARTS for _ in range(SMALL_JOBS)), rows])
    names = sorted({name for job in jobs for name in job["mib"]})
    table(
        [
            {"MiB": name, **{f"job {n}, {j['dataset_mib']}": j["mib"].get(name, "") for n, j in enumerate(jobs)}}
            for name in names
        ]
    )
    conclude({"jobs": jobs}, bounds(jobs))


if __name__ == "__main__":
    main()
