"""Collections by registry processes, and collectors that are killed, stopped and woken."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from modelyard import keys
from modelyard.errors import PreconditionError
from modelyard.etcd import Etcd
from modelyard.process import PARENT
from modelyard.v1 import registry_pb2 as pb
from modelyard_registry.artifacts.turn import turn
from tests import models
from tests.integration.registry.contents import chunk
from tests.integration.registry.remote import RegistryServer, Remote, manifest, messages, refused, sha256
from tests.servers import ProgramServer
from tests.waiting import eventually, wait_until

FILES = {"m.onnx": models.mlp((4, 2)).SerializeToString()} | {f"f{n}": chunk("pushed", n) for n in range(9)}
TTL_S = 4


@pytest.fixture
async def own(new_registry: Callable[..., RegistryServer], etcd: Etcd) -> RegistryServer:
    server = new_registry()
    await server.wait_ready()
    return server


@pytest.fixture
async def remote(own: RegistryServer) -> AsyncIterator[Remote]:
    """A client of a registry of the test's own, with a model `m` and the chunks of FILES, which nobody refers to."""
    found = Remote(own.endpoint)
    await found("RegisterModel", name="m")
    await found.upload(messages(FILES.values()))
    yield found
    await found.close()


async def stored(server: RegistryServer) -> set[str]:
    return {path.name for path in server.chunks()}


async def test_collecting_over_grpc(own: RegistryServer, remote: Remote, etcd: Etcd) -> None:
    kept = await remote.push("m", FILES, "1")
    await remote.upload(messages([b"garbage"]))
    answer = await remote("CollectGarbage", dry_run=True)
    assert (answer.removed_chunks, answer.removed_bytes, list(answer.purged)) == (1, 7, [])
    assert await remote("CollectGarbage") == answer
    assert await remote.pull("m") == FILES
    await remote("DeleteVersion", model="m", version="1", purge=True)
    # What was asked for without naming an upload is held for a day.
    assert (await remote("CollectGarbage")).removed_chunks == 1
    for key in await etcd.keys(keys.HOLDS):
        await etcd.delete(key)
    answer = await remote("CollectGarbage")
    assert answer == pb.CollectGarbageResponse(removed_chunks=10, removed_bytes=kept.size_bytes)
    assert await stored(own) == set()


async def test_a_push_that_names_its_upload_leaves_no_hold(own: RegistryServer, remote: Remote, etcd: Etcd) -> None:
    found = manifest(FILES)
    digests = [digest for file in found.files for digest in file.chunks]
    await remote("FindMissingChunks", digests=digests, upload="u1")
    assert await etcd.keys(keys.HOLDS)
    create = {"model": "m", "format": "onnx", "manifest": found, "upload": "u1"}
    declared = {"inputs": [{"name": "no", "datatype": "FP32"}]}
    await refused(PreconditionError, remote("CreateVersion", **create, declared=declared))
    assert len(await etcd.keys(keys.HOLDS)) == 1
    await remote("CreateVersion", **create, version="1")
    assert await etcd.keys(keys.HOLDS) == []
    await remote("DeleteVersion", model="m", version="1", purge=True)
    assert (await remote("CollectGarbage")).removed_chunks == len(digests) + 1


async def test_a_deleted_version_goes_when_its_grace_is_over(
    new_registry: Callable[..., RegistryServer], etcd: Etcd
) -> None:
    server = new_registry(options=["--grace-s=0", "--collect-every-s=0.2"])
    await server.wait_ready()
    remote = Remote(server.endpoint)
    await remote("RegisterModel", name="m")
    await remote("FindMissingChunks", digests=[sha256(data) for data in FILES.values()], upload="u1")
    await remote.upload(messages(FILES.values()))
    create = {"model": "m", "format": "onnx", "manifest": manifest(FILES), "upload": "u1"}
    await remote("CreateVersion", **create, version="1")
    assert await remote.pull("m") == FILES
    await remote("DeleteVersion", model="m", version="1")
    await eventually(lambda: not server.chunks())
    assert await etcd.keys(keys.versions("m")) == []
    await remote.close()


async def test_only_one_collects(remote: Remote, etcd: Etcd) -> None:
    async with turn(etcd, "registry-7"):
        assert "registry-7 is collecting" in await refused(PreconditionError, remote("CollectGarbage"))
        assert (await remote("CollectGarbage", dry_run=True)).removed_chunks == len(FILES)


class Asking:
    """A collector in a process that asks before each removal."""

    def __init__(self, server: RegistryServer, etcd: str) -> None:
        command = [sys.executable, "-m", "tests.integration.registry.collecting", str(server.store), etcd, str(TTL_S)]
        environ = {**os.environ, PARENT: str(os.getpid())}
        self.process = subprocess.Popen(
            command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    async def line(self) -> str:
        """The next line that it writes."""
        assert self.process.stdout is not None
        return (await asyncio.to_thread(self.process.stdout.readline)).strip()

    def go_on(self) -> None:
        """Let it remove one."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")

    async def remove(self, count: int) -> None:
        """Let it remove so many, until it asks for the next."""
        assert await self.line() == "removing"
        for _ in range(count):
            self.go_on()
            assert await self.line() == "removing"

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


@pytest.fixture
def asking(own: RegistryServer, remote: Remote, etcd_server: ProgramServer) -> Iterator[Asking]:
    started = Asking(own, etcd_server.endpoint)
    yield started
    started.end()


async def push_what_is_missing(remote: Remote, count: int) -> None:
    """Push FILES; the registry must ask for so many chunks."""
    found = manifest(FILES)
    digests = [digest for file in found.files for digest in file.chunks]
    missing = (await remote("FindMissingChunks", digests=digests, upload="u1")).digests
    assert len(missing) == count
    chunks = {sha256(data): data for data in FILES.values()}
    await remote.upload(messages(chunks[digest] for digest in missing))
    await remote("CreateVersion", model="m", format="onnx", manifest=found, upload="u1")
    assert await remote.pull("m") == FILES


async def test_a_collector_that_goes_on(own: RegistryServer, asking: Asking) -> None:
    await asking.remove(9)
    asking.go_on()
    assert await asking.line() == "removed 10"
    assert await stored(own) == set()


async def test_a_collector_that_is_killed_while_it_removes(
    own: RegistryServer, remote: Remote, asking: Asking, etcd: Etcd
) -> None:
    await asking.remove(3)
    asking.process.kill()
    assert await etcd.get(keys.CONDEMNED)
    await push_what_is_missing(remote, 3)
    assert await etcd.keys(keys.PREFIX + "collection/") == []
    assert (await remote("CollectGarbage")).removed_chunks == 0
    assert await remote.pull("m") == FILES


async def test_a_collector_that_was_stopped_removes_nothing_when_it_wakes(
    own: RegistryServer, remote: Remote, asking: Asking
) -> None:
    await asking.remove(3)
    asking.process.send_signal(signal.SIGSTOP)
    await push_what_is_missing(remote, 3)
    before = await stored(own)
    asking.go_on()
    asking.process.send_signal(signal.SIGCONT)
    assert (await asking.line()).startswith("AbortedError collection stopped: its lease was not renewed in time")
    wait_until(lambda: asking.process.poll() is not None)
    assert await stored(own) == before
    assert await remote.pull("m") == FILES


@pytest.mark.chaos
async def test_a_registry_that_is_killed_while_it_collects(
    own: RegistryServer, remote: Remote, etcd: Etcd, new_registry: Callable[..., RegistryServer]
) -> None:
    other = new_registry(name="registry-1", store=own.store)
    await other.wait_ready()
    survivor = Remote(other.endpoint)
    await survivor.upload(messages(chunk("many", n) for n in range(1500)))
    collection = remote.stub.CollectGarbage(pb.CollectGarbageRequest())
    await eventually(lambda: etcd.get(keys.CONDEMNED))
    own.kill()
    collection.cancel()
    await survivor.push("m", FILES)
    assert await survivor.pull("m") == FILES

    async def collected() -> bool:
        return not await etcd.keys(keys.PREFIX + "collection/")

    await eventually(collected, 60)
    await survivor("CollectGarbage")
    assert len(other.chunks()) == len(FILES) + 1
    await survivor.close()
