"""What a row of a job costs the reader process: rows a second and CPU time, beside a real runner and a real registry.

    python -m bench.reader [--rows 250000] [--task-rows 50000] [--copies 1]

The digits model (64 floats, 10 out) on an npy and on a Parquet file in the artifact store, two tasks at a time; every
program has its own line of CPU time. `plain` is bench.local_loop over the same rows. JSON on standard output.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.processes import cpu_by_program, machine, resident_by_program
from modelyard import codec, process
from modelyard.catalogue import Signature, TensorSpec
from modelyard.datasets.pieces import result_columns
from modelyard.deployment import InstanceOptions
from modelyard.jobs.found import Found
from modelyard.jobs.spec import Artifact, BatchInference, Dataset
from modelyard.jobs.tasks import TaskSpec
from modelyard.rpc import convert
from modelyard.rpc.channel import Stub, open_channel
from modelyard.rpc.storing import Storing
from modelyard.v1 import runner_pb2 as pb
from modelyard_worker.jobs.assignment import Begin, Order, Registries, Target
from tests import models
from tests.integration.registry.remote import RegistryServer
from tests.servers import new_etcd

WIDTH = 64
SLOTS = 2
PLAIN_BATCH = 2048
SERVICE = pb.DESCRIPTOR.services_by_name["Runner"]
SIGNATURE = Signature((TensorSpec("x", "FP32", (-1, WIDTH)),), (TensorSpec("y", "FP32", (-1, 10)),))


def files(rows: int) -> dict[str, bytes]:
    """The same rows as each kind of file."""
    values = np.random.default_rng(1).normal(size=(rows, WIDTH)).astype(np.float32)
    plain, columnar = io.BytesIO(), io.BytesIO()
    np.save(plain, values)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), WIDTH)
    pq.write_table(pa.table({"x": lists}), columnar, row_group_size=20_000)
    return {"x.npy": plain.getvalue(), "x.parquet": columnar.getvalue()}


@asynccontextmanager
async def registry(directory: Path) -> AsyncIterator[str]:
    """A registry with an etcd; its address."""
    etcd = new_etcd(directory / "etcd")
    etcd.start()
    server = RegistryServer(directory / "registry", etcd.endpoint)
    server.start()
    try:
        await server.wait_ready()
        yield server.endpoint
    finally:
        server.close()
        etcd.close()


@asynccontextmanager
async def runner(directory: Path, copies: int) -> AsyncIterator[Target]:
    """A runner that has the model; where it takes calls."""
    models.save(models.mlp(), directory / "model.onnx")
    child = await process.start([sys.executable, "-m", "modelyard_worker.runner"], os.environ, None)
    try:
        ready = await anext(child.reports())
        options = convert.options_to_pb(InstanceOptions(threads=1, copies=copies))
        order = pb.LoadRequest(
            instance="digits@1", worker="w", format="onnx", directory=str(directory), options=options
        )
        async with open_channel(ready["address"]) as channel:
            port = (await Stub(channel, SERVICE).Load(order)).execute_port
        yield Target("digits@1", f"127.0.0.1:{port}", SIGNATURE, copies=copies)
    finally:
        await child.stop(10)


async def execute(reader: process.Child, reports: Any, begins: list[Begin]) -> None:
    """Have tasks executed, two at a time."""
    left, ended = len(begins), 0
    for begin in begins[:SLOTS]:
        await reader.order(codec.encode(Order(begin=begin)))
    waiting = begins[SLOTS:]
    while ended < left:
        report = await anext(reports)
        if "state" in report:
            continue
        assert report.get("executed"), report
        ended += 1
        if waiting:
            await reader.order(codec.encode(Order(begin=waiting.pop(0))))


def begins_of(digest: str, rows: int, task_rows: int, target: Target, job: str) -> list[Begin]:
    """The tasks of a job."""
    found = Found(rows, result_columns(SIGNATURE.outputs))
    spec = BatchInference("digits", Dataset(artifact=Artifact(digest)), version="1")
    tasks = [TaskSpec(at, min(at + task_rows, rows)).id for at in range(0, rows, task_rows)]
    return [
        Begin(token=task, job=job, tenant="default", task=task, spec=spec, found=found, target=target) for task in tasks
    ]


async def measure(options: argparse.Namespace, directory: Path) -> list[dict[str, Any]]:
    """Start everything; execute a job on each file."""
    found = []
    async with registry(directory) as address, runner(directory, options.copies) as target:
        storing = Storing(lambda: [address])
        reader = await process.start(
            [sys.executable, "-m", "modelyard_worker.jobs.reader"], os.environ, None, orders=True
        )
        reports = reader.reports()
        await reader.order(codec.encode(Order(registries=Registries((address,)))))
        for name, data in files(options.rows).items():
            digest = await storing.store_artifact(name, data, tenant="default", upload="bench")
            jobs = begins_of(digest, options.rows, options.task_rows, target, name)
            await execute(reader, reports, jobs[:1])
            before, began_s = cpu_by_program([os.getpid()]), time.monotonic()
            await execute(reader, reports, jobs)
            took_s, after = time.monotonic() - began_s, cpu_by_program([os.getpid()])
            cpu_us = {
                program: round((seconds - before.get(program, 0.0)) / options.rows * 1e6, 2)
                for program, seconds in after.items()
            }
            resident = resident_by_program([os.getpid()])["modelyard_worker.jobs.reader"]
            found.append(
                {
                    "file": name,
                    "rows_per_s": round(options.rows / took_s),
                    "cpu_us_per_row": cpu_us,
                    "resident_mb": resident >> 20,
                }
            )
        await reader.stop(10)
        await storing.close()
    return found


def plain(rows: int, directory: Path) -> dict[str, Any]:
    """The same by a loop around onnxruntime."""
    (directory / "x.npy").write_bytes(files(rows)["x.npy"])
    arguments = [directory / "model.onnx", directory / "x.npy", 0, rows, PLAIN_BATCH, directory / "out.parquet"]
    command = [sys.executable, "-m", "bench.local_loop", *map(str, arguments)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin
    assert child.stdout
    child.stdout.readline()
    began_s = time.monotonic()
    child.stdin.write(b"\n")
    child.stdin.flush()
    child.stdout.readline()
    took_s = time.monotonic() - began_s
    child.communicate()
    return {"file": "plain", "rows_per_s": round(rows / took_s)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=250_000)
    parser.add_argument("--task-rows", type=int, default=50_000)
    parser.add_argument("--copies", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        rows = asyncio.run(measure(options, Path(scratch)))
        rows.append(plain(options.rows, Path(scratch)))
    print(json.dumps({"machine": machine(), "results": rows}, indent=2))


if __name__ == "__main__":
    main()
