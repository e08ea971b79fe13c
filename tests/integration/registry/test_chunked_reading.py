"""Datasets that are read from a registry, by threads."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path

import pytest

from modelyard.catalogue import CHUNK_SIZE_BYTES
from modelyard.chunks import Chunk
from modelyard.datasets.chunked import open_artifact
from modelyard.datasets.opening import is_directory, open_dataset
from modelyard.datasets.source import Directory, Source
from modelyard.errors import DataLossError, NotFoundError, UnavailableError
from modelyard.rpc.registry import BlockingSource, RegistrySource
from tests import models
from tests.integration.registry.remote import RegistryServer, Remote
from tests.waiting import eventually

SHORT = random.Random(8).randbytes(CHUNK_SIZE_BYTES + 1000)
LARGE = random.Random(7).randbytes(3 * CHUNK_SIZE_BYTES + 1000)
CSV = b"x,y\n" + b"".join(b"%d,%d\n" % (row, row * row) for row in range(1000))


class Noted(RegistrySource):
    """Notes which chunks are asked for, and how often."""

    def __init__(self, address: str) -> None:
        super().__init__(lambda: [address])
        self.asked: list[int] = []

    async def pieces(self, chunks: Sequence[Chunk], *, unverified: bool = False) -> AsyncGenerator[bytes, None]:
        self.asked += [chunk.index for chunk in chunks]
        async for piece in super().pieces(chunks, unverified=unverified):
            yield piece


class Altering(RegistrySource):
    """Hands on other bytes than it gets."""

    async def pieces(self, chunks: Sequence[Chunk], *, unverified: bool = False) -> AsyncGenerator[bytes, None]:
        async for piece in super().pieces(chunks, unverified=unverified):
            yield piece[::-1]


async def pushed(server: RegistryServer, directory: Path, large: bytes = LARGE) -> str:
    """Publish an artifact with the dataset in it; return the digest of its manifest."""
    models.external(directory)
    files = {file.name: file.read_bytes() for file in directory.iterdir()}
    remote = Remote(server.endpoint)
    await remote("RegisterModel", name="digits")
    version = await remote.push("digits", files | {"large.bin": large, "rows/x.csv": CSV})
    await remote.close()
    return version.manifest_digest


async def opened(blocking: BlockingSource, digest: str, path: str) -> Source:
    found = await any_opened(blocking, digest, path)
    assert not is_directory(found)
    return found  # type: ignore[return-value]


async def any_opened(blocking: BlockingSource, digest: str, path: str) -> Source | Directory:
    manifest = await asyncio.to_thread(blocking.manifest, digest)
    return open_artifact(manifest, path, blocking.fetch)


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    directory = tmp_path / "artifact"
    directory.mkdir()
    return directory


async def test_a_dataset_is_read_from_the_registry(server: RegistryServer, scratch: Path) -> None:
    digest = await pushed(server, scratch)
    noted = Noted(server.endpoint)
    blocking = BlockingSource(noted, asyncio.get_running_loop())
    source = await opened(blocking, digest, "large.bin")
    ranges = [(0, 10), (CHUNK_SIZE_BYTES - 3, 7), (5, 2 * CHUNK_SIZE_BYTES), (len(LARGE) - 1, 1)]
    for begin, length in ranges:
        assert await asyncio.to_thread(source.read, begin, length) == LARGE[begin : begin + length]
    assert sorted(noted.asked) == [0, 1, 2, 3]

    altered = await opened(
        BlockingSource(Altering(lambda: [server.endpoint]), asyncio.get_running_loop()), digest, "large.bin"
    )
    with pytest.raises(DataLossError, match=r"large\.bin: chunk 3 arrived with another sha256"):
        await asyncio.to_thread(altered.read, len(LARGE) - 1, 1)

    directory = await any_opened(blocking, digest, "")
    assert is_directory(directory)
    dataset = await asyncio.to_thread(open_dataset, directory.open("rows/x.csv"))
    assert (await asyncio.to_thread(dataset.read, 990, 1000))["y"].tolist() == [row * row for row in range(990, 1000)]


async def test_threads_share_a_source(server: RegistryServer, scratch: Path) -> None:
    digest = await pushed(server, scratch)
    source = await opened(
        BlockingSource(RegistrySource(lambda: [server.endpoint]), asyncio.get_running_loop()), digest, "large.bin"
    )
    begins = random.Random(1).choices(range(len(LARGE) - 1000), k=24)
    found = await asyncio.gather(*(asyncio.to_thread(source.read, begin, 1000) for begin in begins))
    assert found == [LARGE[begin : begin + 1000] for begin in begins]


async def test_a_registry_that_is_away_is_waited_for_so_long(
    new_registry: Callable[..., RegistryServer], scratch: Path
) -> None:
    server = new_registry()
    await server.wait_ready()
    digest = await pushed(server, scratch, SHORT)
    noted, loop = Noted(server.endpoint), asyncio.get_running_loop()
    patient, hasty = [await opened(BlockingSource(noted, loop, wait_s), digest, "large.bin") for wait_s in (60, 0.2)]
    server.kill()
    with pytest.raises(UnavailableError):
        await asyncio.to_thread(hasty.read, 100, 1000)
    before = len(noted.asked)
    reading = asyncio.create_task(asyncio.to_thread(patient.read, 100, 1000))
    await eventually(lambda: len(noted.asked) >= before + 2)
    server.start()
    assert await reading == SHORT[100:1100]
    assert await asyncio.to_thread(hasty.read, 100, 1000) == SHORT[100:1100]


async def test_what_is_damaged_or_gone_is_said(new_registry: Callable[..., RegistryServer], scratch: Path) -> None:
    server = new_registry()
    await server.wait_ready()
    digest = await pushed(server, scratch, SHORT)
    blocking = BlockingSource(RegistrySource(lambda: [server.endpoint]), asyncio.get_running_loop())
    source = await opened(blocking, digest, "large.bin")
    manifest = await asyncio.to_thread(blocking.manifest, digest)
    chunks = next(file.chunks for file in manifest.files if file.path == "large.bin")
    server.chunk(chunks[0]).write_bytes(SHORT[1:][:CHUNK_SIZE_BYTES])
    with pytest.raises(DataLossError):
        await asyncio.to_thread(source.read, 0, 10)
    server.chunk(chunks[1]).unlink()
    with pytest.raises(DataLossError, match=r"large\.bin: chunk 1 is not in the artifact store any more"):
        await asyncio.to_thread(source.read, CHUNK_SIZE_BYTES, 10)
    with pytest.raises(NotFoundError):
        await asyncio.to_thread(blocking.manifest, "0" * 64)
