"""Batch jobs on two workers beside a plain loop around onnxruntime in two processes: rows a second, in turns.

Both read the same file by the same number of rows and write Parquet; the model is loaded on both sides before the clock
starts, and the dataset is in the artifact store. A job's time is from SubmitJob to its last state, so that it has
planning, queueing and putting results together in it. The CPU time of both sides is measured too: on a machine with no
more cores than loops it bounds the ratio, and other programs disturb it less than the clock. `resident_mb` is the most
that each program had in memory while the job ran.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from bench.peers.served import resnet50
from bench.processes import clean_up_on_termination, cpu_by_program, machine, resident_by_program
from bench.suite import running
from modelyard import Client
from modelyard.deployment import InstanceOptions
from modelyard.jobs.job import Job
from modelyard.jobs.states import JobState
from modelyard.sdk.jobs.options import JobOptions
from modelyard_worker.jobs.reader.sizes import MOST_ROWS
from tests import models

WORKERS = 2
LOOK_S = 0.05
"""So often it is looked what the programs have in memory."""


@dataclass(frozen=True)
class Case:
    """What is executed: a model on rows FP32 [rows, *shape], the local loop with so many at a time."""

    name: str
    model: onnx.ModelProto
    shape: tuple[int, ...]
    rows: int
    batch: int
    aim: float


def cases(rows: int, images: int, batch: int) -> list[Case]:
    """The two of them."""
    resnet = onnx.load_from_string(resnet50().onnx)
    return [
        Case("digits", models.mlp(), (64,), rows, batch, 0.6),
        Case("resnet50", resnet, (3, 224, 224), images, 1, 0.9),
    ]


def write_rows(path: Path, case: Case) -> None:
    """An npy file of random rows."""
    out = np.lib.format.open_memmap(path, "w+", np.float32, (case.rows, *case.shape))
    random = np.random.default_rng(0)
    for at in range(0, case.rows, 1 << 14 if len(case.shape) == 1 else 64):
        part = out[at : at + (1 << 14 if len(case.shape) == 1 else 64)]
        part[:] = random.standard_normal(part.shape, dtype=np.float32)
    out.flush()


def local_s(case: Case, directory: Path) -> tuple[float, float]:
    """Seconds that plain loops in two processes take for all rows, by the clock and of computing."""
    middle = case.rows // WORKERS
    with ExitStack() as stack:
        loops = []
        for number, (begin, end) in enumerate(((0, middle), (middle, case.rows))):
            files = directory / "model.onnx", directory / "rows.npy"
            arguments = [*map(str, files), str(begin), str(end), str(case.batch), str(directory / f"{number}.parquet")]
            command = [sys.executable, "-m", "bench.local_loop", *arguments]
            loop = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            loops.append(stack.enter_context(loop))
        for loop in loops:
            assert loop.stdout is not None
            if loop.stdout.readline() != "ready\n":
                raise RuntimeError("a local loop did not start")
        began_s = time.perf_counter()
        for loop in loops:
            assert loop.stdin is not None
            loop.stdin.write("go\n")
            loop.stdin.flush()
        computed_s = [float(loop.stdout.readline() or "nan") for loop in loops if loop.stdout]
        took_s = time.perf_counter() - began_s
        if any(loop.wait() for loop in loops):
            raise RuntimeError("a local loop failed")
    return took_s, sum(computed_s)


def job_of(client: Client, case: Case, directory: Path) -> Job:
    """A job that has been done."""
    done = client.jobs.wait(client.jobs.submit(case.name, directory / "rows.npy", JobOptions()))
    if done.state is not JobState.SUCCEEDED or done.progress.done_rows != case.rows:
        raise RuntimeError(f"job {done.id}: {done.state} {done.reason}, {done.progress}")
    return done


@contextmanager
def most_resident(pid: int) -> Iterator[dict[str, int]]:
    """The most bytes that each program below a process has in memory in this scope, all of a kind together."""
    most: dict[str, int] = {}
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(LOOK_S):
            for name, size in resident_by_program([pid]).items():
                most[name] = max(most.get(name, 0), size)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield most
    finally:
        ended.set()
        thread.join()


def measure(case: Case, rounds: int) -> dict[str, Any]:
    """Rows a second of both, round by round."""
    with tempfile.TemporaryDirectory() as scratch, running(workers=WORKERS) as suite, Client(suite.address) as client:
        directory = Path(scratch)
        write_rows(directory / "rows.npy", case)
        path = directory / "model.onnx"
        onnx.save(case.model, path)
        client.push(case.name, path)
        client.deploy(case.name, replicas=WORKERS, options=InstanceOptions(threads=1), timeout_s=120)
        job_of(client, case, directory)  # uploads the dataset, and warms up
        found = []
        for _ in range(rounds):
            alone = local_s(case, directory)
            before = cpu_by_program([suite.pid])
            with most_resident(suite.pid) as resident:
                job = job_of(client, case, directory)
            cpu_s = {p: s - before.get(p, 0.0) for p, s in cpu_by_program([suite.pid]).items()}
            memory = {program: size >> 20 for program, size in sorted(resident.items())}
            found.append(_round(case, alone, job, cpu_s) | {"resident_mb": memory})
            print(found[-1], file=sys.stderr)
    ratio = statistics.median(one["ratio"] for one in found)
    return {"case": case.name, "rows": case.rows, "aim": case.aim, "ratio": round(ratio, 3), "rounds": found}


def _round(case: Case, alone: tuple[float, float], job: Job, cpu_s: dict[str, float]) -> dict[str, Any]:
    took_s = job.end_time_s - job.create_time_s
    return {
        "local_rows_per_s": round(case.rows / alone[0], 1),
        "job_rows_per_s": round(case.rows / took_s, 1),
        "ratio": round(alone[0] / took_s, 3),
        "cpu_ratio": round(alone[1] / sum(cpu_s.values()), 3),
        "planned_after_s": round(job.start_time_s - job.create_time_s, 3),
        "running_s": round(job.end_time_s - job.start_time_s, 3),
        "tasks": job.progress.tasks,
        "local_cpu_s": round(alone[1], 2),
        "cpu_s": {program: round(s, 2) for program, s in sorted(cpu_s.items()) if s > 0.05},
    }


def main() -> None:
    """Measure what is asked for; JSON on standard output, exit status 1 if an aim was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--images", type=int, default=2_000)
    parser.add_argument("--batch", type=int, default=MOST_ROWS, help="rows at a time of the local loop, of digits")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["digits", "resnet50"])
    arguments = parser.parse_args()
    clean_up_on_termination()
    wanted = [c for c in cases(arguments.rows, arguments.images, arguments.batch) if arguments.only in {None, c.name}]
    found = [measure(case, arguments.rounds) for case in wanted]
    print(json.dumps({"machine": machine(), "jobs": found}, indent=2))
    sys.exit(any(one["ratio"] < one["aim"] for one in found))


if __name__ == "__main__":
    main()
