"""Models, datasets and what is expected of them, for tests of jobs on a whole suite."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pyarrow.parquet as pq

from modelyard.aio import Client
from modelyard.jobs.job import Job
from tests import models

TIMEOUT_S = 120.0
Array = npt.NDArray[Any]


def rows(count: int, width: int = 64, seed: int = 0) -> npt.NDArray[np.float32]:
    """Random rows FP32 [count, width]."""
    return np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)


def local(model: onnx.ModelProto, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """What onnxruntime makes of the inputs in this process."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def saved(path: Path, array: Array) -> Path:
    """An npy file."""
    np.save(path, array)
    return path


def column(path: Path, name: str) -> Array:
    """A column of a Parquet file of results, as one array."""
    return np.array(pq.read_table(path)[name].to_pylist())


async def ended(client: Client, job: Job) -> Job:
    """A job that has ended."""
    return await client.jobs.wait(job, TIMEOUT_S)


async def publish(client: Client, directory: Path, name: str, model: onnx.ModelProto) -> None:
    """Push a model as the newest version."""
    await client.push(name, models.save(model, directory / f"{name}.onnx"))
