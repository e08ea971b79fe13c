"""Datasets on S3, as moto speaks it."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path

import fsspec
import numpy as np
import pytest

from modelyard.datasets.opening import is_directory, open_dataset
from modelyard.datasets.remote import open_url, stamp_of
from modelyard.errors import InvalidInputError, NotFoundError
from tests.integration.registry.s3 import BUCKET, S3Server

ROOT = f"s3://{BUCKET}/sets"


@pytest.fixture
async def s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[S3Server]:
    server = S3Server(tmp_path)
    server.start()
    for name, value in server.environ.items():
        monkeypatch.setenv(name, value)
    await server.wait_ready()
    yield server
    server.kill()


def npy(rows: int) -> bytes:
    out = io.BytesIO()
    np.save(out, np.arange(rows, dtype=np.float32))
    return out.getvalue()


async def test_files_and_directories_are_read_and_recognised(s3: S3Server) -> None:
    store = fsspec.filesystem("s3", skip_instance_cache=True)
    for path, rows in {"x.npy": 10, "more/y.npy": 20, "more/z.npy": 30}.items():
        store.pipe(f"{BUCKET}/sets/{path}", npy(rows))
    file = open_url(f"{ROOT}/x.npy", [ROOT])
    directory = open_url(f"{ROOT}/more", [ROOT])
    assert is_directory(directory)
    assert open_dataset(file).read(8, 10)["x"].tolist() == [8.0, 9.0]
    assert (directory.paths(), open_dataset(directory.open("z.npy")).rows) == (["y.npy", "z.npy"], 30)
    stamps = {"x.npy": stamp_of(file), "more": stamp_of(directory)}
    stamps["more/y.npy"] = stamp_of(open_url(f"{ROOT}/more/y.npy", [ROOT]))
    for path, stamp in stamps.items():
        assert stamp_of(open_url(f"{ROOT}/{path}", [ROOT], stamp)) == stamp
    store.pipe(f"{BUCKET}/sets/x.npy", npy(10)[::-1])
    store.pipe(f"{BUCKET}/sets/more/y.npy", npy(21))
    for path, stamp in stamps.items():
        with pytest.raises(InvalidInputError, match="has changed since its rows were counted"):
            open_url(f"{ROOT}/{path}", [ROOT], stamp)
    with pytest.raises(NotFoundError, match=f"{ROOT}/nope: no such file"):
        open_url(f"{ROOT}/nope", [ROOT])
    await s3.refuse_all()
    with pytest.raises(InvalidInputError, match=r"x\.npy: cannot be read"):
        open_url(f"{ROOT}/x.npy", [ROOT])
