from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.v1 import registry_pb2
from tests.unit.fakes import FakeSuite


@pytest.fixture
def digits(fakes: FakeSuite) -> FakeSuite:
    """The suite with a model that has the outputs y and a/z."""
    fakes.registry.models["digits"] = registry_pb2.Model(name="digits", latest_version="1")
    version = registry_pb2.Version(model="digits", version="1", state=registry_pb2.ACTIVE)
    for name in ("y", "a/z"):
        version.signature.outputs.add(name=name, datatype="FP32", shape=[-1])
    fakes.registry.versions["digits", "1"] = version
    return fakes


@pytest.fixture
def rows(tmp_path: Path) -> str:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"x\n1\n2\n")
    return str(path)
