"""Tasks for readers: rows in a registry, and a runner of a model that doubles them."""

from __future__ import annotations

import asyncio
import io
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from modelyard.catalogue import Signature, TensorSpec
from modelyard.datasets.assembly import MemorySource
from modelyard.datasets.columns import Column
from modelyard.datasets.opening import open_dataset
from modelyard.datasets.pieces import result_columns
from modelyard.jobs.found import Found
from modelyard.jobs.spec import Artifact, BatchInference, Dataset, Output, ResultFormat
from modelyard.jobs.tasks import StoredPiece
from modelyard.oip import messages
from modelyard.oip.tensors import decode_inputs, parse_request
from modelyard.rpc.storing import Storing
from modelyard.v1 import runner_pb2 as pb
from modelyard_worker.jobs.assignment import Begin, Order, Registries, Report, Target
from modelyard_worker.jobs.reader.attempts import Attempts
from tests.integration.registry.remote import RegistryServer, Remote
from tests.runners import FakeRunner

SIGNATURE = Signature((TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("y", "FP32", (-1, 2)),))
KEY = Column("k", "BYTES")


class Doubling(FakeRunner):
    """Answers x with y = 2x; raises where a row's first value is one of `bad`.

    Attributes:
        sizes: of the calls that came, in rows.
        one_row: whether it answers with the first row alone.
    """

    def __init__(self) -> None:
        super().__init__(model="double")
        self.bad: set[float] = set()
        self.sizes: list[int] = []
        self.one_row = False

    def reply(self, call: pb.Call) -> pb.Reply:
        values = decode_inputs(parse_request(call.request))["x"][1]
        self.sizes.append(len(values))
        if self.failures or self.failure:
            return super().reply(call)
        if self.bad & set(values[:, 0].tolist()):
            return pb.Reply(id=call.id, failure=pb.Failure(error="ModelExecutionError", message="a bad row"))
        doubled = (values * 2)[:1] if self.one_row else values * 2
        response = messages.ModelInferResponse(model_name="double")
        response.outputs.add(name="y", datatype="FP32", shape=doubled.shape)
        response.raw_output_contents.append(doubled.tobytes())
        return pb.Reply(id=call.id, response=response.SerializeToString())


def parquet(rows: int, missing: tuple[int, ...] = ()) -> bytes:
    """Column x [2], which is row and 1, with no value in some; column k, "k{row}"."""
    out = io.BytesIO()
    lists = [None if row in missing else [float(row), 1.0] for row in range(rows)]
    table = pa.table({"x": pa.array(lists, pa.list_(pa.float32(), 2)), "k": [f"k{row}" for row in range(rows)]})
    pq.write_table(table, out, row_group_size=500)
    return out.getvalue()


async def begin(
    server: RegistryServer, runner: FakeRunner, task: str, rows: int, *, missing: tuple[int, ...] = (), **changes: Any
) -> Begin:
    """An attempt at a task of a job on so many rows, which are stored."""
    storing = Storing(lambda: [server.endpoint])
    digest = await storing.store_artifact("rows.parquet", parquet(rows, missing), tenant="acme", upload="rows")
    await storing.close()
    spec = BatchInference("double", Dataset(artifact=Artifact(digest)), version="1", output=Output(key_column="k"))
    found = Found(rows, result_columns(SIGNATURE.outputs, KEY))
    target = Target("double@1", runner.endpoint, SIGNATURE)
    made = Begin(
        token=f"t-{task}", job=f"job-{digest[:8]}", tenant="acme", task=task, spec=spec, found=found, target=target
    )
    return replace(made, **changes)


def as_npy(begun: Begin) -> Begin:
    """The same, written as npy, without keys."""
    spec = replace(begun.spec, output=Output(ResultFormat.NPY))
    return replace(begun, spec=spec, found=replace(begun.found, results=result_columns(SIGNATURE.outputs)))


class Agent:
    """Gives orders to attempts in this process, and hears what becomes of them."""

    def __init__(self, *addresses: str, patience_s: float = 30.0) -> None:
        self.reports: asyncio.Queue[Report] = asyncio.Queue()
        self.attempts = Attempts(self.reports.put_nowait, patience_s)
        self._registries = Registries(addresses)

    async def __aenter__(self) -> Agent:
        await self.attempts.take(Order(registries=self._registries))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.attempts.close()

    async def report(self, begun: Begin) -> Report:
        """Have it executed; what was reported."""
        await self.attempts.take(Order(begin=begun))
        return await asyncio.wait_for(self.reports.get(), 30)


async def rows_of(registry: Remote, piece: StoredPiece) -> dict[str, Any]:
    """What a stored Parquet piece has."""
    data = b"".join([part for _, _, part in await registry.download(piece.chunks)])
    assert len(data) == piece.size_bytes
    dataset = open_dataset(MemorySource(data, "piece.parquet"))
    return dataset.read(0, dataset.rows)


async def array_of(registry: Remote, piece: StoredPiece) -> np.ndarray[Any, Any]:
    """What a stored npy piece has."""
    data = b"".join([part for _, _, part in await registry.download(piece.chunks)])
    return np.frombuffer(data, np.float32).reshape(piece.rows, *piece.shape)
