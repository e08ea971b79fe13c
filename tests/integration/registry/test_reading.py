"""Reading a part of a file of a version."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from modelyard.aio import Client
from modelyard.catalogue import CHUNK_SIZE_BYTES
from modelyard.errors import DataLossError, InvalidInputError, NotFoundError, PreconditionError
from modelyard.v1 import registry_pb2 as pb
from tests import models
from tests.integration.registry.remote import RegistryServer, Remote, refused, sha256, split

LARGE = random.Random(7).randbytes(2 * CHUNK_SIZE_BYTES + 1000)


@pytest.fixture
async def files(registry: Remote, tmp_path: Path) -> dict[str, bytes]:
    """The files of digits@1, of which `dir/large` has three chunks."""
    models.external(tmp_path)
    found = {f.name: f.read_bytes() for f in tmp_path.iterdir()} | {"dir/large": LARGE, "empty": b""}
    await registry("RegisterModel", name="digits")
    await registry.push("digits", found)
    await registry("SetAlias", model="digits", alias="prod", version="1")
    return found


@pytest.fixture
async def client(server: RegistryServer) -> AsyncIterator[Client]:
    async with Client(server.endpoint) as opened:
        yield opened


async def read(registry: Remote, path: str, offset: int = 0, length: int = 0, version: str = "1") -> list[bytes]:
    request = pb.ReadFileRequest(model="digits", version=version, path=path, offset=offset, length=length)
    return [part.data async for part in registry.stub.ReadFile(request, timeout=30)]


async def test_every_file(registry: Remote, files: dict[str, bytes]) -> None:
    for path, data in files.items():
        for version in ("1", "prod", ""):
            assert b"".join(await read(registry, path, version=version)) == data


BORDER = CHUNK_SIZE_BYTES


@pytest.mark.parametrize(
    ("offset", "length"),
    [
        (0, 1),
        (BORDER - 1, 1),
        (BORDER - 1, 2),
        (BORDER, 1),
        (BORDER - 3, BORDER + 6),
        (5, 300_000),
        (2 * BORDER - 1, 0),
        (len(LARGE) - 1, 0),
        (len(LARGE), 0),
        (len(LARGE) - 10, 1 << 62),
    ],
)
async def test_parts_of_a_file(registry: Remote, files: dict[str, bytes], offset: int, length: int) -> None:
    parts = await read(registry, "dir/large", offset, length)
    assert b"".join(parts) == LARGE[offset : offset + length if length else None]
    assert all(parts)
    assert max(map(len, parts), default=0) <= 1 << 20


async def test_any_part(registry: Remote, files: dict[str, bytes]) -> None:
    rng = random.Random(3)
    for _ in range(20):
        offset = rng.randrange(len(LARGE))
        length = rng.choice((1, 1000, 600_000, BORDER))
        assert b"".join(await read(registry, "dir/large", offset, length)) == LARGE[offset : offset + length]


async def test_what_cannot_be_read(registry: Remote, files: dict[str, bytes]) -> None:
    said = await refused(NotFoundError, _drained(registry, "large"))
    assert said.startswith("file 'large': expected one of 'dir/large', 'empty', 'model.onnx', 'weights.bin'")
    await refused(NotFoundError, _drained(registry, ""))
    await refused(NotFoundError, _drained(registry, "dir/large", version="9"))
    for offset, length in ((len(LARGE) + 1, 0), (-1, 0), (1 << 62, 5)):
        said = await refused(InvalidInputError, _drained(registry, "dir/large", offset, length))
        assert f"offset: expected 0 to {len(LARGE)}, the size of 'dir/large'; got {offset}" in said
    assert "length: expected 0 or more" in await refused(InvalidInputError, _drained(registry, "empty", 0, -5))


async def _drained(registry: Remote, path: str, offset: int = 0, length: int = 0, version: str = "1") -> None:
    await read(registry, path, offset, length, version)


async def test_a_damaged_chunk_sends_nothing_of_itself(
    registry: Remote, server: RegistryServer, files: dict[str, bytes]
) -> None:
    path = server.chunk(sha256(split(LARGE)[1]))
    path.write_bytes(b"!" + split(LARGE)[1][1:])
    got = [b""]

    async def collect() -> None:
        request = pb.ReadFileRequest(model="digits", path="dir/large")
        async for part in registry.stub.ReadFile(request, timeout=30):
            got[0] += part.data

    assert "another sha256" in await refused(DataLossError, collect())
    assert got == [split(LARGE)[0]]
    path.unlink()
    assert "not in the artifact store" in await refused(DataLossError, _drained(registry, "dir/large", BORDER, 1))
    assert b"".join(await read(registry, "dir/large", 0, BORDER)) == split(LARGE)[0]
    await registry.send(files)


async def test_a_deleted_model_is_not_read(registry: Remote, files: dict[str, bytes]) -> None:
    await registry("DeleteAlias", model="digits", alias="prod")
    await registry("DeleteModel", name="digits")
    await refused(PreconditionError, _drained(registry, "empty"))


async def test_a_client_reads_on_where_a_stream_broke(
    client: Client, server: RegistryServer, files: dict[str, bytes]
) -> None:
    got = bytearray()
    async for data in client.read_file("digits@prod", "dir/large", offset=3):
        got += data
    assert got == LARGE[3:]
