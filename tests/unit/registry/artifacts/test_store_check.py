"""Whether a store can be used."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

import pytest

from modelyard.errors import UnavailableError
from modelyard_registry.artifacts.bucket import Bucket
from modelyard_registry.artifacts.store import ChunkStore


@pytest.mark.parametrize("gone", ["chunks", "scratch", ""])
async def test_a_directory_that_is_gone_cannot_be_used(tmp_path: Path, gone: str) -> None:
    store = ChunkStore(str(tmp_path / "store"), "registry-0")
    await store.prepare()
    await store.check()
    shutil.move(tmp_path / "store" / gone, tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError):
        await store.check()
    shutil.move(tmp_path / "elsewhere", tmp_path / "store" / gone)
    await store.check()


async def test_a_bucket_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    store = ChunkStore(f"memory://{uuid.uuid4().hex}", "registry-0")
    await store.prepare()
    await store.check()

    def broken(bucket: Bucket, path: str) -> int:
        raise ConnectionResetError("connection reset")

    monkeypatch.setattr(Bucket, "_size", broken)
    with pytest.raises(UnavailableError, match="connection reset"):
        await store.check()
