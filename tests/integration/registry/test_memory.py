"""The registry's memory has a bound, however many clients move bytes and however slow they are."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from modelyard.catalogue import CHUNK_SIZE_BYTES
from modelyard.etcd import Etcd
from modelyard.v1 import registry_pb2 as pb
from tests.integration.registry.remote import RegistryServer, Remote, header, messages, piece, sha256

MAX_MIB = 200
PIECE_BYTES = 256 << 10
RANDOM = random.Random(5).randbytes(CHUNK_SIZE_BYTES)


def chunk(number: int) -> bytes:
    return number.to_bytes(8, "big") + RANDOM[8:]


@pytest.fixture
async def own(new_registry: Callable[..., RegistryServer], etcd: Etcd) -> RegistryServer:
    server = new_registry()
    await server.wait_ready()
    return server


def peak_mib(server: RegistryServer) -> float:
    lines = Path(f"/proc/{server.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


async def test_uploads_that_stand_still(own: RegistryServer) -> None:
    remotes = [Remote(own.endpoint) for _ in range(32)]
    calls = [remote.stub.UploadChunks() for remote in remotes]

    async def send(number: int) -> None:
        """All of a chunk but its end."""
        data = chunk(number)
        await calls[number].write(header(sha256(data), len(data)))
        for start in range(0, len(data) - PIECE_BYTES, PIECE_BYTES):
            await calls[number].write(piece(data[start : start + PIECE_BYTES]))

    await asyncio.gather(*(send(number) for number in range(len(calls))))
    # They hold up nobody.
    other = Remote(own.endpoint)
    assert (await other.upload(messages([chunk(1000)]))).chunks == 1
    assert peak_mib(own) < MAX_MIB
    for number, call in enumerate(calls):
        await call.write(piece(chunk(number)[-PIECE_BYTES:]))
        await call.done_writing()
        assert (await call).chunks == 1
    for remote in [*remotes, other]:
        await remote.close()


async def test_downloads_that_stand_still(own: RegistryServer) -> None:
    remotes = [Remote(own.endpoint) for _ in range(32)]
    chunks = [chunk(number) for number in range(4)]
    await remotes[0].upload(messages(chunks))
    digests = [sha256(data) for data in chunks]
    calls = [remote.stub.DownloadChunks(pb.DownloadChunksRequest(digests=digests)) for remote in remotes]
    for call in calls:
        assert (await call.read()).header.digest == digests[0]
    other = Remote(own.endpoint)
    assert [data for _, _, data in await other.download(digests)] == chunks
    assert peak_mib(own) < MAX_MIB
    for remote in [*remotes, other]:
        await remote.close()


async def test_many_that_move_on(own: RegistryServer) -> None:
    remotes = [Remote(own.endpoint) for _ in range(48)]
    chunks = [chunk(number) for number in range(2)]
    requests, digests = messages(chunks), [sha256(data) for data in chunks]

    async def move(remote: Remote) -> None:
        assert (await remote.upload(requests)).chunks == len(chunks)
        call = remote.stub.DownloadChunks(pb.DownloadChunksRequest(digests=digests))
        assert sum([len(part.data) async for part in call]) == len(chunks) * CHUNK_SIZE_BYTES

    await asyncio.gather(*(move(remote) for remote in remotes))
    assert peak_mib(own) < MAX_MIB
    for remote in remotes:
        await remote.close()
