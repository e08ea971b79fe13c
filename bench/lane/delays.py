"""Models that take a known time a row and burn no CPU, and rows for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from modelyard import Client
from modelyard_worker.runtimes.delay import DELAY_MS_PER_ROW
from tests import models

WIDTH = 4


def push(client: Client, name: str, directory: Path, ms_per_row: float) -> None:
    """Register a model: x FP32 [-1, WIDTH] -> y of the same shape, after so many milliseconds a row."""
    model = models.identity("FP32", (-1, WIDTH))
    model.metadata_props.add(key=DELAY_MS_PER_ROW, value=str(ms_per_row))
    client.push(name, models.save(model, directory / f"{name}.onnx"))


def rows(path: Path, count: int) -> Path:
    """Write an npy file of so many rows, FP32 [count, WIDTH]; return its path."""
    np.save(path, np.random.default_rng(0).standard_normal((count, WIDTH), dtype=np.float32))
    return path
