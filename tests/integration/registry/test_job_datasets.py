"""What a job is given of a client's files is an artifact of the registry, and read as one by those who execute it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from modelyard import codec
from modelyard.aio import Client
from modelyard.catalogue import CHUNK_SIZE_BYTES, Manifest
from modelyard.chunks import encoded, scan
from modelyard.datasets.chunked import open_artifact
from modelyard.datasets.opening import Opening, open_dataset
from modelyard.jobs.spec import Dataset
from modelyard.names import ModelVersion
from modelyard.rpc.registry import BlockingSource, RegistrySource
from modelyard.sdk.jobs.options import JobOptions
from tests.integration.registry.remote import RegistryServer, Remote, sha256

MODEL = ModelVersion("digits", "1")


@pytest.fixture
async def client(server: RegistryServer) -> AsyncIterator[Client]:
    async with Client(server.endpoint, tenant="acme", timeout_s=20) as opened:
        yield opened


async def read_back(server: RegistryServer, dataset: Dataset) -> dict[str, np.ndarray]:
    """All rows, as a worker reads them."""
    artifact = dataset.artifact
    assert artifact
    source = BlockingSource(RegistrySource(lambda: [server.endpoint]), asyncio.get_running_loop())

    def read() -> dict[str, np.ndarray]:
        content = open_artifact(source.manifest(artifact.manifest_digest), artifact.path, source.fetch)
        found = open_dataset(content, Opening(dataset.kind))
        return found.read(0, found.rows)

    return await asyncio.to_thread(read)


async def test_a_file_is_an_artifact_and_sent_once(
    server: RegistryServer, registry: Remote, client: Client, tmp_path: Path
) -> None:
    x = np.arange(CHUNK_SIZE_BYTES // 4, dtype=np.float32).reshape(-1, 8)
    np.save(tmp_path / "x.npy", x)
    dataset = await client.jobs.dataset(MODEL, tmp_path / "x.npy", JobOptions(), None)
    np.testing.assert_array_equal((await read_back(server, dataset))["x"], x)
    held = await registry("GetManifest", digest=dataset.artifact.manifest_digest if dataset.artifact else "")
    assert [len(file.chunks) for file in held.files] == [2]
    before = server.chunks()
    assert await client.jobs.dataset(MODEL, str(tmp_path / "x.npy"), JobOptions(), None) == dataset
    assert sorted(server.chunks()) == sorted(before)


async def test_rows_too_many_for_a_call_are_uploaded(server: RegistryServer, client: Client) -> None:
    rows = {"x": np.arange(CHUNK_SIZE_BYTES // 4, dtype=np.float32), "name": np.full(CHUNK_SIZE_BYTES // 4, b"n")}
    dataset = await client.jobs.dataset(MODEL, rows, JobOptions(), None)
    found = await read_back(server, dataset)
    np.testing.assert_array_equal(found["x"], rows["x"])
    assert found["name"][-1] == b"n"


def test_the_manifest_is_the_one_that_the_registry_keeps(tmp_path: Path) -> None:
    for name in ("b.csv", 'ä"\\.csv', "a/b.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    manifest = scan(tmp_path)
    assert codec.decode(Manifest, encoded(manifest)) == manifest
    assert sha256(encoded(manifest)) == sha256(codec.encode(manifest))
