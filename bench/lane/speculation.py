"""Second attempts late in a job: its end with one worker ten times as slow as the other, with them and without.

Without them another scheduler leads, which makes none. A second attempt is for a worker that has nothing else to do, so
that it saves what the slow one still has to do of its last tasks.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.lane import delays
from bench.lane.stores import leader_of
from bench.lane.verdicts import Bound, conclude, table
from bench.lane.workers import STOP_S, wait_ready, worker
from bench.processes import clean_up_on_termination
from bench.suite import running
from modelyard import Client
from modelyard.config import without_settings
from modelyard.jobs.states import JobState
from modelyard.local.commands import Status
from modelyard.process import PARENT, REPORT
from tests.waiting import wait_until

MODEL, MS_PER_ROW, FACTOR = "slow", 5.0, 10.0
PLAIN = "without-speculation"
MOST = 0.8


@contextlib.contextmanager
def plain_leader(suite: Status) -> Iterator[None]:
    """Have a scheduler lead that makes no second attempts."""
    read_fd, write_fd = os.pipe()
    environ = without_settings(os.environ) | {PARENT: str(os.getpid()), REPORT: str(write_fd)}
    flags = {"id": PLAIN, "etcd": suite.process("etcd").address, "redis": suite.process("redis").address}
    flags |= dict.fromkeys(("port", "control-port", "metrics-port"), "0")
    command = [sys.executable, "-m", "bench.lane.without_speculation", *(f"--{k}={v}" for k, v in flags.items())]
    with (Path(suite.directory) / "logs" / "plain.log").open("w") as log, os.fdopen(read_fd) as reports:
        process = subprocess.Popen(command, env=environ, stdout=log, stderr=log, pass_fds=[write_fd])
        os.close(write_fd)
        try:
            wait_ready(reports)
            os.kill(suite.process("scheduler-0").pid, signal.SIGTERM)  # which is started again, and follows
            wait_until(lambda: leader_of(suite) == PLAIN)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(STOP_S)


def seconds(client: Client, rows: Path) -> float:
    """From a job's first task to its end, by its record."""
    job = client.jobs.wait(client.jobs.submit(MODEL, rows))
    if job.state is not JobState.SUCCEEDED:
        raise RuntimeError(f"job {job.id}: {job.state} {job.reason}")
    return job.end_time_s - job.start_time_s


def measured(client: Client, rows: Path, rounds: int) -> list[float]:
    """The times of some jobs, each a little later than the one before, so that nothing falls together."""
    found = []
    for _ in range(rounds):
        found.append(round(seconds(client, rows), 2))
        time.sleep(0.1)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    clean_up_on_termination()
    with (
        tempfile.TemporaryDirectory() as scratch,
        running(workers=0, delays=True) as suite,
        Client(suite.address) as client,
        worker(suite, "fast"),
        worker(suite, "slow", FACTOR),
    ):
        directory = Path(scratch)
        delays.push(client, MODEL, directory, MS_PER_ROW)
        client.deploy(MODEL, replicas=2)
        rows = delays.rows(directory / "rows.npy", options.rows)
        seconds(client, delays.rows(directory / "warm.npy", 256))
        with_s = measured(client, rows, options.rounds)
        with plain_leader(suite):
            without_s = measured(client, rows, options.rounds)
    least_s = options.rows * MS_PER_ROW / 1e3 / (1 + 1 / FACTOR)
    found: dict[str, Any] = {"least_s": round(least_s, 2), "with_s": with_s, "without_s": without_s}
    table([{name: json.dumps(value) for name, value in found.items()}])
    ratio = statistics.median(with_s) / statistics.median(without_s)
    facts = {"rows": options.rows, "ms_per_row": [MS_PER_ROW, MS_PER_ROW * FACTOR]}
    conclude(facts | found, [Bound("time with second attempts, to that without", ratio, most=MOST)])


if __name__ == "__main__":
    main()
