"""Registries that keep their chunks on S3: moto's server, a process of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import fsspec
import pytest

from modelyard import keys
from modelyard.errors import DataLossError, PreconditionError, UnavailableError
from modelyard.etcd import Etcd
from modelyard.v1 import registry_pb2 as pb
from modelyard_registry.artifacts.store import ChunkStore, sha256
from tests import models
from tests.integration.registry.contents import Contents, chunk
from tests.integration.registry.remote import RegistryServer, Remote, header, manifest, messages, piece, refused
from tests.integration.registry.s3 import BUCKET, URL, S3Server
from tests.servers import ProgramServer
from tests.waiting import wait_until

FILES = {"m.onnx": models.ballast(9 << 20).SerializeToString(), "empty": b"", "dir/notes": b"some text"}
Start = Callable[..., RegistryServer]


@pytest.fixture(scope="module")
def _s3_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 that the variables of this process name, and those of its children."""
    server = S3Server(tmp_path_factory.mktemp("s3"))
    server.start()
    server.make_bucket()
    fsspec.get_filesystem_class("s3").clear_instance_cache()  # or the client of an earlier one would be found
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environ.items():
            patch.setenv(name, value)
        yield server
    server.close()


@pytest.fixture(scope="module")
def _registry(
    _s3_process: S3Server, _etcd_process: ProgramServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RegistryServer]:
    directory = tmp_path_factory.mktemp("registry-on-s3")
    server = RegistryServer(directory, _etcd_process.endpoint, name="registry-on-s3", options=[f"--store={URL}"])
    server.start()
    yield server
    server.close()


@pytest.fixture
async def s3(_s3_process: S3Server) -> S3Server:
    """The S3 of these tests, empty."""
    await _s3_process.empty()
    return _s3_process


@pytest.fixture
def on_s3(new_registry: Start, s3: S3Server) -> Start:
    """Registries on that S3."""

    def start(name: str = "registry-0", url: str = URL) -> RegistryServer:
        return new_registry(name=name, options=[f"--store={url}"])

    return start


@pytest.fixture
async def remote(s3: S3Server, _registry: RegistryServer, etcd: Etcd) -> AsyncIterator[Remote]:
    """A client of the registry of these tests, which is on S3, with a model `m`."""
    await _registry.wait_ready()
    found = Remote(_registry.endpoint)
    await found("RegisterModel", name="m")
    yield found
    await found.close()


@pytest.fixture
async def store(s3: S3Server) -> ChunkStore:
    """The same store, from here."""
    return ChunkStore(URL, "test")


async def test_the_whole_life_of_a_version(remote: Remote, store: ChunkStore, etcd: Etcd) -> None:
    version = await remote.push("m", FILES)
    assert await remote.pull("m") == FILES
    digests = [digest for file in manifest(FILES).files for digest in file.chunks]
    assert (await remote("FindMissingChunks", digests=digests)).digests == []
    assert await remote.push("m", FILES, version.version) == version
    request = pb.ReadFileRequest(model="m", path="m.onnx", offset=(8 << 20) - 10, length=100)
    parts = [part.data async for part in remote.stub.ReadFile(request, timeout=30)]
    assert b"".join(parts) == FILES["m.onnx"][(8 << 20) - 10 :][:100]
    contents = Contents(etcd, store)
    assert await contents.chunks() == {*digests, version.manifest_digest} == await contents.referred_to()
    await remote.upload(messages([b"garbage"]))
    assert (await remote("CollectGarbage")).removed_chunks == 1
    assert await remote.pull("m") == FILES
    await remote("DeleteVersion", model="m", version=version.version, purge=True)
    for key in await etcd.keys(keys.HOLDS):
        await etcd.delete(key)
    answer = await remote("CollectGarbage")
    assert (answer.removed_chunks, answer.kept_chunks) == (len(digests) + 1, 0)
    assert await contents.chunks() == set()
    assert await remote.push("m", FILES)
    assert await remote.pull("m") == FILES


async def test_nothing_lies_in_the_bucket_but_chunks(remote: Remote, s3: S3Server) -> None:
    await remote.push("m", FILES)
    listing = (await s3.call("GET", f"{BUCKET}?list-type=2")).decode()
    names = [part.partition("</Key>")[0] for part in listing.split("<Key>")[1:]]
    assert len(names) == 4
    assert all(name.startswith("yard/chunks/") for name in names)


async def test_two_registries_share_a_bucket(remote: Remote, on_s3: Start) -> None:
    other = on_s3("registry-1")
    await other.wait_ready()
    second = Remote(other.endpoint)
    sent = await remote.send(FILES)
    created = await second("CreateVersion", model="m", format="onnx", manifest=sent)
    assert await remote("GetVersion", model="m") == created
    assert await second.pull("m") == await remote.pull("m") == FILES
    await second.close()


async def test_many_chunks_at_once(remote: Remote, store: ChunkStore) -> None:
    chunks = {sha256(data): data for data in (chunk(n) for n in range(100))}
    batches = [list(chunks.values())[n::6] for n in range(6)]
    await asyncio.gather(*(remote.upload(messages(batch)) for batch in batches))
    assert (await remote("FindMissingChunks", digests=[*chunks, sha256(b"no")])).digests == [sha256(b"no")]
    assert [data for _, _, data in await remote.download(chunks)] == list(chunks.values())
    removed = await store.remove(list(chunks), lambda: None)
    assert set(removed) == set(chunks)
    assert sorted((await remote("FindMissingChunks", digests=chunks)).digests) == sorted(chunks)


async def test_an_upload_that_is_cut_leaves_nothing(remote: Remote, store: ChunkStore, etcd: Etcd) -> None:
    call = remote.stub.UploadChunks()
    for message in (header(sha256(b"whole"), 5), piece(b"who")):
        await call.write(message)
    call.cancel()
    assert (await remote("FindMissingChunks", digests=[sha256(b"whole")])).digests == [sha256(b"whole")]
    assert await Contents(etcd, store).chunks() == set()


@pytest.mark.parametrize("damaged", [b"", b"short", FILES["dir/notes"][:-1] + b"!"])
async def test_a_damaged_chunk_is_data_loss_until_it_is_sent_again(remote: Remote, damaged: bytes) -> None:
    await remote.push("m", FILES)
    digest = sha256(FILES["dir/notes"])
    bucket = fsspec.filesystem("s3", use_listings_cache=False)
    await asyncio.to_thread(bucket.pipe_file, f"{BUCKET}/yard/chunks/{digest[:2]}/{digest}", damaged)
    assert digest in await refused(DataLossError, remote.download([digest]))
    await remote.push("m", FILES)
    assert await remote.pull("m") == FILES


async def test_an_s3_that_is_away(remote: Remote, s3: S3Server, etcd: Etcd) -> None:
    await remote.push("m", FILES)
    s3.kill()
    digest = sha256(b"new")
    calls = [
        remote("FindMissingChunks", digests=[digest]),
        remote.upload(messages([b"new"])),
        remote.download([sha256(FILES["dir/notes"])]),
        remote("CollectGarbage"),
    ]
    for call in calls:
        assert f"artifact store {URL}: Could not connect" in await refused(UnavailableError, call)
    s3.start()
    await s3.wait_ready()
    assert (await remote("FindMissingChunks", digests=[digest])).digests == [digest]
    assert "m@1" in await refused(DataLossError, remote("CollectGarbage"))  # this one has lost its memory


async def test_an_s3_that_refuses_us(remote: Remote, on_s3: Start, s3: S3Server) -> None:
    await s3.refuse_all()
    said = f"artifact store {URL} refuses us: "
    assert said in await refused(PreconditionError, remote.upload(messages([b"new"])))
    assert said + "The AWS Access Key Id" in exit_message(on_s3("registry-1"))
    await s3.restart()


def exit_message(server: RegistryServer) -> str:
    """What a registry says that cannot start."""
    assert wait_until(server.returncode) == 1
    line = server.log.read_text().splitlines()[-1]
    assert line.startswith("error: ")
    return line


def test_a_bucket_that_is_not_there(on_s3: Start, etcd_server: object) -> None:
    line = exit_message(on_s3(url="s3://unknown/prefix"))
    assert line == "error: artifact store s3://unknown/prefix: The specified bucket does not exist"


def test_no_credentials(on_s3: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert exit_message(on_s3()) == f"error: artifact store {URL}: Unable to locate credentials"


async def test_sigterm_ends_it_in_order(on_s3: Start, etcd: Etcd) -> None:
    server = on_s3()
    await server.wait_ready()
    remote = Remote(server.endpoint)
    await remote("RegisterModel", name="m")
    await remote.push("m", FILES)
    await remote.close()
    server.stop()
    assert server.returncode() == 0
    said = [line for line in server.log.read_text().splitlines() if '"level": "INFO"' not in line]
    assert said == []
