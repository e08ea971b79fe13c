from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from modelyard import keys
from modelyard.errors import ExhaustedError, UnavailableError
from modelyard.etcd import Etcd
from modelyard.local.kernel import tree
from modelyard.v1 import registry_pb2 as pb
from tests import models
from tests.integration.registry.remote import RegistryServer, Remote, messages, refused, sha256, split
from tests.servers import ProgramServer, new_etcd
from tests.waiting import eventually, wait_until

FILES = {"m.onnx": models.ballast(9 << 20).SerializeToString(), "readme": b"text"}
CHUNKS = [chunk for data in FILES.values() for chunk in split(data)]
REQUESTS = messages(CHUNKS)

Start = Callable[..., RegistryServer]
CRASHES = {
    "after the first header": 1,
    "in the middle of a chunk": 5,
    "after the last byte of a chunk": 9,
    "after the next header": 10,
    "when all is sent": len(REQUESTS),
}


@pytest.fixture
async def own(new_registry: Start, etcd: Etcd) -> RegistryServer:
    """A registry of the test's own, on an empty etcd, with the model `digits`."""
    server = new_registry()
    await server.wait_ready()
    await with_remote(server, lambda remote: remote("RegisterModel", name="digits"))
    return server


async def with_remote(server: RegistryServer, use: Callable[[Remote], Awaitable[Any]]) -> Any:
    """Connect, use, close."""
    remote = Remote(server.endpoint)
    try:
        return await use(remote)
    finally:
        await remote.close()


def check_store(server: RegistryServer) -> None:
    """Nothing is unfinished, and every chunk is what its name says."""
    assert server.scratch() == []
    for path in server.chunks():
        assert sha256(path.read_bytes()) == path.name


async def check_whole(server: RegistryServer, etcd: Etcd) -> None:
    """Every version that is visible can be read whole, and the same push succeeds."""
    check_store(server)
    versions = [key.removeprefix(keys.versions("digits")) for key in (await etcd.list(keys.versions("digits"))).items]

    async def use(remote: Remote) -> None:
        for version in versions:
            assert await remote.pull("digits", version) == FILES
        pushed = await remote.push("digits", FILES)
        assert pushed.version == str(len(versions) + 1)
        assert await remote.pull("digits") == FILES

    await with_remote(server, use)


async def crash(server: RegistryServer) -> None:
    """Kill it with all its children, and start it again."""
    processes = tree(server.pid)
    server.kill()
    await eventually(lambda: not any(process.lives for process in processes))
    server.start()
    await server.wait_ready()


async def test_killed_during_an_upload(own: RegistryServer, etcd: Etcd) -> None:
    async def upload(remote: Remote, sent: int) -> None:
        call = remote.stub.UploadChunks()
        for request in REQUESTS[:sent]:
            await call.write(request)
        await crash(own)
        with pytest.raises(grpc.aio.AioRpcError):
            await call

    for sent in CRASHES.values():
        await with_remote(own, lambda remote: upload(remote, sent))  # noqa: B023
        assert not (await etcd.list(keys.versions("digits"))).items
        check_store(own)
    await check_whole(own, etcd)


async def test_killed_while_a_chunk_is_written(own: RegistryServer, etcd: Etcd) -> None:
    async def upload(remote: Remote) -> None:
        call = remote.stub.UploadChunks()
        for request in REQUESTS[:9]:
            await call.write(request)
        await eventually(lambda: own.scratch() or own.chunks())
        await crash(own)

    await with_remote(own, upload)
    await check_whole(own, etcd)


MOMENTS: dict[str, Callable[[RegistryServer, int], Any]] = {
    "at once": lambda server, published: True,
    "while files are laid out": lambda server, published: server.scratch(),
    "while the reader runs": lambda server, published: len(tree(server.pid)) > 1,
    "when it is published": lambda server, published: published,
}


async def test_killed_during_create_version(own: RegistryServer, etcd: Etcd) -> None:
    async def versions() -> int:
        return len(await etcd.keys(keys.versions("digits")))

    async def create(remote: Remote, moment: Callable[[RegistryServer, int], Any]) -> None:
        before = await versions()

        async def reached() -> bool:  # or missed, as it was over before it was seen
            published = await versions() - before
            return bool(published or moment(own, published))

        sent = await remote.send(FILES)
        call = remote.stub.CreateVersion(pb.CreateVersionRequest(model="digits", format="onnx", manifest=sent))
        await eventually(reached)
        await crash(own)
        call.cancel()

    for moment in MOMENTS.values():
        await with_remote(own, lambda remote: create(remote, moment))  # noqa: B023
        await check_whole(own, etcd)


async def test_replicas_share_the_store_and_the_catalogue(own: RegistryServer, new_registry: Start) -> None:
    other = new_registry(name="registry-1", store=own.store)
    await other.wait_ready()
    sent = await with_remote(own, lambda remote: remote.send(FILES))
    create = {"model": "digits", "format": "onnx", "manifest": sent}
    created = await with_remote(other, lambda remote: remote("CreateVersion", **create))
    assert await with_remote(own, lambda remote: remote("GetVersion", model="digits")) == created
    assert await with_remote(own, lambda remote: remote.pull("digits")) == FILES
    own.kill()
    assert await with_remote(other, lambda remote: remote.pull("digits")) == FILES


async def test_sigterm_withdraws_and_exits_with_0(own: RegistryServer, etcd: Etcd) -> None:
    ours = await etcd.get(keys.member("registry", "registry-0"))
    assert ours is not None
    own.stop()
    assert own.returncode() == 0
    left = await etcd.get(keys.member("registry", "registry-0"))  # another of that name may be there
    assert left is None or left.lease_id != ours.lease_id


async def test_sigterm_lets_a_call_finish(own: RegistryServer) -> None:
    async def upload(remote: Remote) -> None:
        call = remote.stub.UploadChunks()
        for request in REQUESTS[:9]:
            await call.write(request)
        await eventually(own.chunks)
        own.signal_stop()
        for request in REQUESTS[9:]:
            await call.write(request)
        await call.done_writing()
        assert (await call).chunks == len(CHUNKS)

    await with_remote(own, upload)
    assert own.returncode() == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> tuple[Path, list[str]]:
    """A directory, and the command before a command that sees a disk of 20 MiB there."""
    unshare = shutil.which("unshare")
    if not unshare or subprocess.run([unshare, "-rm", "true"], check=False).returncode:
        pytest.skip("no mount namespaces here")
    (tmp_path / "disk").mkdir()
    mount = 'mount -t tmpfs -o size=20m tmpfs "$0" && exec "$@"'
    return tmp_path / "disk", [unshare, "-rm", "sh", "-c", mount, str(tmp_path / "disk")]


async def test_a_full_disk(new_registry: Start, etcd: Etcd, small_disk: tuple[Path, list[str]]) -> None:
    store, prefix = small_disk
    server = new_registry(store=store, prefix=prefix)
    await server.wait_ready()
    chunks = split(models.ballast(32 << 20).SerializeToString())[:3]

    async def fill(remote: Remote) -> None:
        await remote("RegisterModel", name="digits")
        assert "full" in await refused(ExhaustedError, remote.upload(messages(chunks)))
        answer = await remote("FindMissingChunks", digests=map(sha256, chunks))
        assert list(answer.digests) == [sha256(chunks[2])]
        assert "full" in await refused(ExhaustedError, remote.push("digits", {"m.onnx": b"".join(chunks[:2])}))
        assert (await remote("GetModel", name="digits")).latest_version == ""

    await with_remote(server, fill)


def events(server: RegistryServer) -> list[dict[str, Any]]:
    lines = server.log.read_text().splitlines() if server.log.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


@pytest.fixture
async def late_etcd(tmp_path: Path) -> AsyncIterator[ProgramServer]:
    """An etcd that is not started yet."""
    server = new_etcd(tmp_path / "late-etcd")
    yield server
    server.close()


async def test_it_waits_for_etcd_and_says_so(late_etcd: ProgramServer, tmp_path: Path) -> None:
    server = RegistryServer(tmp_path, late_etcd.endpoint)
    server.start()
    try:
        said = (await eventually(lambda: events(server)))[0]
        assert (said["event"], said["endpoints"]) == ("waiting for etcd", late_etcd.endpoint)
        late_etcd.start()
        await server.wait_ready()
        await with_remote(server, lambda remote: remote("RegisterModel", name="digits"))
    finally:
        server.close()


async def test_sigterm_ends_the_wait_for_etcd(late_etcd: ProgramServer, tmp_path: Path) -> None:
    server = RegistryServer(tmp_path, late_etcd.endpoint)
    server.start()
    try:
        await eventually(lambda: events(server))
        server.stop()
        assert server.returncode() == 0
    finally:
        server.close()


async def test_without_etcd_chunks_move_and_the_catalogue_is_unavailable(
    own: RegistryServer, etcd_server: ProgramServer
) -> None:
    async def use(remote: Remote) -> None:
        etcd_server.kill()
        assert "etcd" in await refused(UnavailableError, remote("GetModel", name="digits"))
        await remote.upload(messages(CHUNKS[-1:]))
        etcd_server.start()
        await etcd_server.wait_ready()
        await eventually(lambda: remote("GetModel", name="digits"))

    await with_remote(own, use)


def test_what_it_cannot_start_with(etcd_server: ProgramServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    server = RegistryServer(tmp_path, etcd_server.endpoint, store=tmp_path / "file")
    server.start()
    assert wait_until(server.returncode) == 1
    assert server.log.read_text().startswith("error: ")
    assert len(server.log.read_text().splitlines()) == 1
    server.close()
