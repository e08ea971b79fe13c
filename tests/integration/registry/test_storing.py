"""Bytes that services store by the registry."""

from __future__ import annotations

import asyncio
import io
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from modelyard import codec, keys
from modelyard.catalogue import CHUNK_SIZE_BYTES, File, Hold
from modelyard.errors import DataLossError, InvalidInputError, UnavailableError
from modelyard.etcd import Etcd
from modelyard.rpc.registry import RegistrySource
from modelyard.rpc.storing import Storing
from tests.integration.registry.remote import RegistryServer, Remote, sha256, split
from tests.waiting import eventually

LARGE = random.Random(3).randbytes(2 * CHUNK_SIZE_BYTES + 1000)


@pytest.fixture
async def storing(server: RegistryServer) -> AsyncIterator[Storing]:
    found = Storing(lambda: [server.endpoint])
    yield found
    await found.close()


async def test_a_file_is_kept_by_its_chunks_and_held(
    storing: Storing, server: RegistryServer, registry: Remote, etcd: Etcd
) -> None:
    stored = await storing.store(io.BytesIO(LARGE), len(LARGE), tenant="acme", upload="job-1.r0-64")
    assert (stored.size_bytes, list(stored.chunks)) == (len(LARGE), [sha256(chunk) for chunk in split(LARGE)])
    assert b"".join([data for _, _, data in await registry.download(stored.chunks)]) == LARGE
    listing = await etcd.list(keys.hold("upload/acme/job-1.r0-64/"))
    holds = [codec.decode(Hold, kv.value) for kv in listing.items.values()]
    assert {mark for hold in holds for mark in hold.chunks} == {digest[:16] for digest in stored.chunks}
    changed = [server.chunk(digest).stat().st_mtime_ns for digest in stored.chunks]
    assert await storing.store(LARGE, len(LARGE), tenant="acme", upload="job-1.r0-64") == stored
    assert [server.chunk(digest).stat().st_mtime_ns for digest in stored.chunks] == changed


async def test_an_artifact_of_one_file_can_be_read_as_any_other(storing: Storing, server: RegistryServer) -> None:
    digest = await storing.store_artifact("rows.csv", b"x\n1\n", tenant="acme", upload="job-2")
    source = RegistrySource(lambda: [server.endpoint])
    try:
        assert (await source.manifest(digest)).files == (File("rows.csv", 4, (sha256(b"x\n1\n"),)),)
    finally:
        await source.close()


async def test_files_are_stored_together(storing: Storing, server: RegistryServer, etcd: Etcd, tmp_path: Path) -> None:
    stored = await storing.store(b"before", 6, tenant="acme", upload="job-1.a")
    before = File("before", 6, stored.chunks)
    (tmp_path / "large").write_bytes(LARGE[::-1])
    large = File("large", len(LARGE), tuple(map(sha256, split(LARGE[::-1]))))
    files = [(before, None), (large, tmp_path / "large"), (File("empty", 0, ()), None)]
    await storing.store_files(files, tenant="acme", upload="job-1.b")
    assert all(server.chunk(digest).exists() for digest in large.chunks)
    holds = [codec.decode(Hold, kv.value) for kv in (await etcd.list(keys.hold("upload/acme/job-1.b/"))).items.values()]
    marks = {digest[:16] for digest in (*before.chunks, *large.chunks)}
    assert {mark for hold in holds for mark in hold.chunks} == marks
    with pytest.raises(DataLossError, match="a chunk is not in the artifact store any more"):
        await storing.store_files([(File("gone", 1, (sha256(b"never sent"),)), None)], tenant="acme", upload="job-1.c")
    (tmp_path / "changed").write_bytes(b"changed since")
    other = File("changed", 5, (sha256(b"other"),))
    with pytest.raises(DataLossError, match="changed while it was being read"):
        await storing.store_files([(other, tmp_path / "changed")], tenant="acme", upload="job-1.c")


async def test_nothing_is_nothing(storing: Storing) -> None:
    stored = await storing.store(b"", 0, tenant="acme", upload="job-3")
    assert (stored.size_bytes, stored.chunks) == (0, ())


async def test_what_it_refuses(storing: Storing) -> None:
    with pytest.raises(DataLossError, match="expected 3 bytes, got 4"):
        await storing.store(b"four", 3, tenant="acme", upload="job-4")
    with pytest.raises(InvalidInputError):
        await storing.store(b"four", 4, tenant="acme", upload="jobs/4")


async def test_a_registry_that_is_away_is_waited_for_so_long(new_registry: Callable[..., RegistryServer]) -> None:
    server = new_registry()
    await server.wait_ready()
    asked = 0

    def addresses() -> list[str]:
        nonlocal asked
        asked += 1
        return [server.endpoint]

    hasty, patient = Storing(addresses, 0.2), Storing(addresses)
    for storing in (hasty, patient):
        await storing.store(b"x", 1, tenant="acme", upload="job-5")
    server.kill()
    with pytest.raises(UnavailableError):
        await hasty.store(LARGE, len(LARGE), tenant="acme", upload="job-5")
    before = asked
    working = asyncio.create_task(patient.store(LARGE, len(LARGE), tenant="acme", upload="job-5"))
    await eventually(lambda: asked >= before + 2)
    server.start()
    stored = await working
    assert all(server.chunk(digest).stat().st_size for digest in stored.chunks)
    for storing in (hasty, patient):
        await storing.close()


async def test_no_registry_is_unavailable() -> None:
    storing = Storing(list, 0.0)
    with pytest.raises(UnavailableError, match="no registry is live"):
        await storing.store(b"x", 1, tenant="acme", upload="job-6")
