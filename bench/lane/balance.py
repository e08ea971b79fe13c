"""Balance by pull: a worker twice as fast does twice the tasks, and one that comes in the middle of a job helps.

First two workers with the delay runtime, one with 10 ms a row, the other with 20 ms, share a job. Then a job has one
worker, and a second one is started; what `modelyard why` says is printed with the time whenever it changes, until the
new worker has executed a task.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from bench.lane import delays
from bench.lane.verdicts import Bound, conclude, table
from bench.lane.workers import Added, worker
from bench.processes import clean_up_on_termination
from bench.suite import running
from modelyard import Client
from modelyard.jobs.job import EventKind, Job
from modelyard.jobs.states import JobState
from modelyard.local.commands import Status
from tests.waiting import wait_until

MODEL, MS_PER_ROW = "slow", 10.0
FACTOR = 2.0
LEAST, MOST = 1.6, 2.5
"""Of the ratio of tasks: they are some dozens, so that one more or less shows."""
FIRST_TASK_S = 30.0
LOOK_S = 0.1


def shared(client: Client, rows: Path) -> list[dict[str, Any]]:
    """What each worker does of a job."""
    job = client.jobs.submit(MODEL, rows)
    tasks, done = Counter[str](), Counter[str]()
    for event in client.jobs.watch(job):
        if event.kind is EventKind.TASK_DONE and event.task:
            tasks[event.task.worker] += 1
            done[event.task.worker] += event.task.end - event.task.begin
    _check(client.jobs.get(job))
    return [{"worker": name, "tasks": tasks[name], "rows": done[name]} for name in sorted(tasks)]


def _check(job: Job) -> None:
    if job.state is not JobState.SUCCEEDED:
        raise RuntimeError(f"job {job.id}: {job.state} {job.reason}")


class Findings:
    """What `why` says of the model, by the time, from another thread."""

    def __init__(self, client: Client) -> None:
        self.seen: list[tuple[float, tuple[str, ...]]] = []
        self._client = client
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Findings:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(LOOK_S):
            found = tuple(self._client.explain(MODEL))
            if not self.seen or found != self.seen[-1][1]:
                self.seen.append((time.time(), found))


def joined(client: Client, suite: Status, rows: Path) -> tuple[Added, dict[str, float], Findings]:
    """Start a worker in the middle of a job; return it, and when its first task started and was done."""
    job = client.jobs.submit(MODEL, rows)
    wait_until(lambda: client.jobs.get(job).progress.done_rows > 2 * 64)
    times: dict[str, float] = {}
    with Findings(client) as findings, worker(suite, "added") as added:
        for event in client.jobs.watch(job):
            known = [event.task.worker == "added"] if event.task else []
            if any(known) and event.kind in {EventKind.TASK_STARTED, EventKind.TASK_DONE}:
                times.setdefault(event.kind.value, event.time_s)
            if EventKind.TASK_DONE.value in times:
                break
        client.jobs.wait(client.jobs.cancel(job))
    return added, times, findings


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=7500, help="of the job that is shared; 150 a second")
    options = parser.parse_args()
    clean_up_on_termination()
    with (
        tempfile.TemporaryDirectory() as scratch,
        running(workers=0, delays=True) as suite,
        Client(suite.address) as client,
        worker(suite, "fast"),
    ):
        directory = Path(scratch)
        delays.push(client, MODEL, directory, MS_PER_ROW)
        rows = delays.rows(directory / "rows.npy", options.rows)
        with worker(suite, "slow", FACTOR):
            client.deploy(MODEL, replicas=2)
            _check(client.jobs.wait(client.jobs.submit(MODEL, delays.rows(directory / "warm.npy", 256))))
            found = shared(client, rows)
        client.undeploy(MODEL)
        added, times, findings = joined(client, suite, rows)
    table(found)
    steps: list[dict[str, Any]] = [
        {"after_s": round(at_s - added.started_s, 1), "why": list(lines)}
        for at_s, lines in findings.seen
        if at_s <= times[EventKind.TASK_DONE.value]
    ]
    for step in steps:
        table([{"after_s": step["after_s"], "why": line} for line in step["why"]])
    by_worker = {one["worker"]: one for one in found}
    ratio = by_worker["fast"]["tasks"] / by_worker["slow"]["tasks"]
    of_rows = by_worker["fast"]["rows"] / by_worker["slow"]["rows"]
    first_s = times[EventKind.TASK_STARTED.value] - added.announced_s
    figures = {
        "ms_per_row": {"fast": MS_PER_ROW, "slow": MS_PER_ROW * FACTOR},
        "shared": found,
        "added": {
            "announced_after_s": round(added.announced_s - added.started_s, 2),
            "first_task_after_announcement_s": round(first_s, 2),
            "first_task_done_after_announcement_s": round(times[EventKind.TASK_DONE.value] - added.announced_s, 2),
            "steps": steps,
        },
    }
    bounds = [
        Bound("tasks of the fast worker, to those of the slow one", ratio, LEAST, MOST),
        Bound("rows of the fast worker, to those of the slow one", of_rows, LEAST, MOST),
        Bound("seconds from the new worker's announcement to its first task", first_s, most=FIRST_TASK_S),
    ]
    conclude(figures, bounds)


if __name__ == "__main__":
    main()
