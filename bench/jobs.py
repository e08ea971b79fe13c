"""Batch jobs on two workers beside a plain loop around onnxruntime in two processes: rows a second, in turns.

Both read the same npy file by the same number of rows and write Parquet; the model is loaded on both sides before the
clock starts, and the dataset is in the artifact store. A job's time is from SubmitJob to its last state, so that it has
planning, queueing and putting results together in it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from bench.peers.served import resnet50
from bench.processes import clean_up_on_termination, cpu_by_program, machine
from bench.suite import running
from modelyard import Client
from modelyard.deployment import InstanceOptions
from modelyard.jobs.job import Job
from modelyard.jobs.states import JobState
from modelyard.sdk.jobs.options import JobOptions
from tests import models

WORKERS = 2


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


def local_s(case: Case, directory: Path) -> float:
    """Seconds that plain loops in two processes take for all rows."""
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
            loop.communicate("go\n")
        took_s = time.perf_counter() - began_s
        if any(loop.returncode for loop in loops):
            raise RuntimeError("a local loop failed")
    return took_s


def job_s(client: Client, case: Case, directory: Path) -> tuple[float, Job]:
    """Seconds from the submission of a job to its end."""
    began_s = time.perf_counter()
    job = client.jobs.submit(case.name, directory / "rows.npy", JobOptions())
    done = client.jobs.wait(job)
    took_s = time.perf_counter() - began_s
    if done.state is not JobState.SUCCEEDED or done.progress.done_rows != case.rows:
        raise RuntimeError(f"job {done.id}: {done.state} {done.reason}, {done.progress}")
    return took_s, done


def measure(case: Case, rounds: int) -> dict[str, Any]:
    """Rows a second of both, round by round."""
    with tempfile.TemporaryDirectory() as scratch, running(workers=WORKERS) as suite, Client(suite.address) as client:
        directory = Path(scratch)
        write_rows(directory / "rows.npy", case)
        path = directory / "model.onnx"
        onnx.save(case.model, path)
        client.push(case.name, path)
        client.deploy(case.name, replicas=WORKERS, options=InstanceOptions(threads=1), timeout_s=120)
        job_s(client, case, directory)  # uploads the dataset, and warms up
        found = []
        for _ in range(rounds):
            alone_s = local_s(case, directory)
            before = cpu_by_program([suite.pid])
            took_s, job = job_s(client, case, directory)
            cpu_s = {p: s - before.get(p, 0.0) for p, s in cpu_by_program([suite.pid]).items()}
            found.append(_round(case, alone_s, took_s, job, cpu_s))
            print(found[-1], file=sys.stderr)
    ratio = statistics.median(one["ratio"] for one in found)
    return {"case": case.name, "rows": case.rows, "aim": case.aim, "ratio": round(ratio, 3), "rounds": found}


def _round(case: Case, alone_s: float, took_s: float, job: Job, cpu_s: dict[str, float]) -> dict[str, Any]:
    return {
        "local_rows_per_s": round(case.rows / alone_s, 1),
        "job_rows_per_s": round(case.rows / took_s, 1),
        "ratio": round(alone_s / took_s, 3),
        "planned_after_s": round(job.start_time_s - job.create_time_s, 3),
        "running_s": round(job.end_time_s - job.start_time_s, 3),
        "tasks": job.progress.tasks,
        "cpu_s": {program: round(s, 2) for program, s in sorted(cpu_s.items()) if s > 0.05},
    }


def main() -> None:
    """Measure what is asked for; JSON on standard output, exit status 1 if an aim was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--images", type=int, default=2_000)
    parser.add_argument("--batch", type=int, default=1024, help="rows at a time of the local loop, of digits")
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
