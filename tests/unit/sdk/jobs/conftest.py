from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.aio import Client
from modelyard.catalogue import Signature, TensorSpec
from tests.unit.fakes import FakeSuite


@pytest.fixture
async def digits(fakes: FakeSuite, client: Client, tmp_path: Path) -> FakeSuite:
    """The suite with a model that takes x and gives y and z, and with nothing asked of it so far."""
    (tmp_path / "net.onnx").write_bytes(b"not looked into")
    rows = (-1, 4)
    outputs = (TensorSpec("y", "FP32", rows), TensorSpec("z", "INT64", (-1,)))
    await client.push("digits", tmp_path / "net.onnx", declared=Signature((TensorSpec("x", "FP32", rows),), outputs))
    fakes.registry.calls.clear()
    fakes.registry.uploads.clear()
    return fakes
