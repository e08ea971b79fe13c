"""Two tenants of equal weight, one with ten times the work: how much longer the small one's job takes than alone.

Two workers with the delay runtime. The other's job is under way when the small one's is submitted, and has work left
when that ends. Where both get half, the small one takes twice its time; the bound leaves a quarter for what both had
claimed already.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from bench.lane import delays
from bench.lane.verdicts import Bound, conclude, table
from bench.processes import clean_up_on_termination
from bench.suite import running
from modelyard import Client
from modelyard.jobs.states import JobState
from tests.waiting import wait_until

MODEL, MS_PER_ROW, WORKERS = "slow", 4.0, 2
TIMES, MOST = 10, 2.5


def seconds(client: Client, rows: Path) -> float:
    """From the submission of a job to its end."""
    began_s = time.perf_counter()
    job = client.jobs.wait(client.jobs.submit(MODEL, rows))
    if job.state is not JobState.SUCCEEDED:
        raise RuntimeError(f"job {job.id}: {job.state} {job.reason}")
    return time.perf_counter() - began_s


def beside(small: Client, large: Client, few: Path, many: Path) -> float:
    """The small one's time while the large one's job is executed, which is cancelled then."""
    job = large.jobs.submit(MODEL, many)
    wait_until(lambda: large.jobs.get(job).progress.done_rows)
    took_s = seconds(small, few)
    left = large.jobs.cancel(job)
    if left.progress.rows - left.progress.done_rows < 1:
        raise RuntimeError("the large job was done before the small one: nothing was compared")
    large.jobs.wait(job)
    return took_s


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    clean_up_on_termination()
    found = []
    with (
        tempfile.TemporaryDirectory() as scratch,
        running(workers=WORKERS, delays=True) as suite,
        Client(suite.address, tenant="small") as small,
        Client(suite.address, tenant="large") as large,
    ):
        directory = Path(scratch)
        delays.push(small, MODEL, directory, MS_PER_ROW)
        few, many = delays.rows(directory / "few.npy", options.rows), directory / "many.npy"
        delays.rows(many, options.rows * TIMES)
        small.deploy(MODEL, replicas=WORKERS)
        seconds(small, delays.rows(directory / "warm.npy", 64 * WORKERS))  # starts the readers
        for _ in range(options.rounds):
            alone_s, beside_s = seconds(small, few), beside(small, large, few, many)
            found.append({"alone_s": round(alone_s, 2), "beside_s": round(beside_s, 2)})
            found[-1]["ratio"] = round(beside_s / alone_s, 2)
    table(found)
    ratio = statistics.median(one["ratio"] for one in found)
    ideal_s = options.rows * MS_PER_ROW / 1e3 / WORKERS
    facts = {"rows": options.rows, "ms_per_row": MS_PER_ROW, "workers": WORKERS, "least_alone_s": ideal_s}
    conclude(facts | {"rounds": found}, [Bound("time beside ten times the work, to that alone", ratio, most=MOST)])


if __name__ == "__main__":
    main()
