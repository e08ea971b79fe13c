"""Bytes through the front door, and straight to the registry behind it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from modelyard.aio import Client
from modelyard.catalogue import CHUNK_SIZE_BYTES
from modelyard.errors import InvalidInputError, NotFoundError
from modelyard.sdk import routes
from tests import models
from tests.integration.serving.conftest import Workbench

LARGE = random.Random(17).randbytes(2 * CHUNK_SIZE_BYTES + 77)


@pytest.fixture(params=["relayed", "direct"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How the chunks go."""
    monkeypatch.setattr(routes, "REACH_S", 60.0 if request.param == "direct" else 0.0)


@pytest.mark.usefixtures("way")
async def test_push_read_and_pull(client: Client, bench: Workbench, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    models.save(models.mlp(), source / "net.onnx")
    (source / "large.bin").write_bytes(LARGE)
    bench.names.add("bytes")
    await client.push("bytes", source, alias="prod")
    await client.pull("bytes@prod", tmp_path / "copy")
    assert {p.name: p.read_bytes() for p in (tmp_path / "copy").iterdir()} == {
        p.name: p.read_bytes() for p in source.iterdir()
    }
    for offset, length in ((0, None), (CHUNK_SIZE_BYTES - 1, 2), (5, 1_000_000), (len(LARGE), None)):
        parts = [part async for part in client.read_file("bytes@prod", "large.bin", offset=offset, length=length)]
        assert b"".join(parts) == LARGE[offset : None if length is None else offset + length]
    with pytest.raises(NotFoundError, match=r"file 'absent': expected one of 'large.bin', 'net.onnx'"):
        await anext(client.read_file("bytes", "absent"))
    with pytest.raises(InvalidInputError, match=f"offset: expected 0 to {len(LARGE)}"):
        await anext(client.read_file("bytes", "large.bin", offset=len(LARGE) + 1))
