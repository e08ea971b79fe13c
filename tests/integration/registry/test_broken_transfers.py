"""Pushes and pulls that break off: what is whole is kept, and the next attempt moves only the rest."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from pathlib import Path

import pytest

from modelyard.aio import Client
from modelyard.catalogue import CHUNK_SIZE_BYTES
from modelyard.chunks import Chunk
from modelyard.errors import UnavailableError
from modelyard.etcd import Etcd
from modelyard.results import Progress
from modelyard.rpc.registry import RegistrySource
from modelyard_worker.cache import ArtifactCache
from tests import models
from tests.integration.registry.remote import RegistryServer, sha256
from tests.servers import ProgramServer
from tests.waiting import eventually

LARGE = random.Random(11).randbytes(5 * CHUNK_SIZE_BYTES + 4321)
TIMEOUT_S = 30.0
SHORT_S = 2.0
"""As long as a client looks for a registry that has gone for good."""

Say = Callable[[Progress], None]


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """A directory with a model and a file of six chunks."""
    (tmp_path / "artifact").mkdir()
    models.save(models.mlp(), tmp_path / "artifact" / "net.onnx")
    (tmp_path / "artifact" / "weights.bin").write_bytes(LARGE)
    return tmp_path / "artifact"


@pytest.fixture(scope="module")
def _own_process(_etcd_process: ProgramServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    server = RegistryServer(tmp_path_factory.mktemp("registry"), _etcd_process.endpoint)
    server.start()
    yield server
    server.close()


@pytest.fixture
async def own(_own_process: RegistryServer, etcd: Etcd) -> RegistryServer:
    """A registry that has nothing, and can be killed: a test leaves it running."""
    await _own_process.wait_ready()
    for chunk in _own_process.chunks():
        chunk.unlink()
    return _own_process


def check_pulled(directory: Path, artifact: Path) -> None:
    found = {p.name: p.read_bytes() for p in directory.iterdir()}
    assert found == {p.name: p.read_bytes() for p in artifact.iterdir()}


def once(stage: str, done_bytes: int, act: Callable[[], None]) -> Say:
    """Act when so many bytes of a stage are through, the first time."""
    acted: list[Progress] = []

    def look(progress: Progress) -> None:
        if not acted and progress.stage == stage and progress.done_bytes >= done_bytes:
            acted.append(progress)
            act()

    return look


MOMENTS = [1, CHUNK_SIZE_BYTES // 2, CHUNK_SIZE_BYTES, 3 * CHUNK_SIZE_BYTES + 1, 5 * CHUNK_SIZE_BYTES]


@pytest.mark.parametrize("done_bytes", MOMENTS)
async def test_a_push_goes_on_when_the_registry_is_back(
    own: RegistryServer, artifact: Path, tmp_path: Path, done_bytes: int
) -> None:
    def restart() -> None:
        own.kill()
        own.start()

    async with Client(own.endpoint, timeout_s=TIMEOUT_S) as client:
        await client.push("digits", artifact, progress=once("send", done_bytes, restart))
        await client.pull("digits@1", tmp_path / "copy")
    check_pulled(tmp_path / "copy", artifact)
    assert own.scratch() == []
    assert all(sha256(path.read_bytes()) == path.name for path in own.chunks())


async def test_a_push_that_was_given_up_is_repeated_with_the_rest(own: RegistryServer, artifact: Path) -> None:
    async with Client(own.endpoint, timeout_s=SHORT_S) as client:
        with pytest.raises(UnavailableError):
            await client.push("digits", artifact, progress=once("send", 4 * CHUNK_SIZE_BYTES, own.kill))
    kept_bytes = sum(path.stat().st_size for path in own.chunks())
    own.start()
    await own.wait_ready()
    seen: list[Progress] = []
    async with Client(own.endpoint, timeout_s=TIMEOUT_S) as client:
        assert (await client.push("digits", artifact, progress=seen.append)).version == "1"
    assert seen[-1].present_bytes == kept_bytes
    assert kept_bytes >= CHUNK_SIZE_BYTES
    assert seen[-1].done_bytes == seen[-1].total_bytes == sum(f.stat().st_size for f in artifact.iterdir()) - kept_bytes


@pytest.mark.parametrize("done_bytes", MOMENTS)
async def test_a_pull_goes_on_when_the_registry_is_back(
    own: RegistryServer, artifact: Path, tmp_path: Path, done_bytes: int
) -> None:
    def restart() -> None:
        own.kill()
        own.start()

    seen: list[Progress] = []
    act = once("receive", done_bytes, restart)

    def look(progress: Progress) -> None:
        seen.append(progress)
        act(progress)

    async with Client(own.endpoint, timeout_s=TIMEOUT_S) as client:
        await client.push("digits", artifact)
        await client.pull("digits@1", tmp_path / "copy", progress=look)
    check_pulled(tmp_path / "copy", artifact)
    # A chunk that was whole was not fetched again.
    assert seen[-1].done_bytes == seen[-1].total_bytes == sum(f.stat().st_size for f in artifact.iterdir())


async def test_a_pull_that_was_given_up_is_repeated_with_the_rest(
    own: RegistryServer, artifact: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    async with Client(own.endpoint, timeout_s=TIMEOUT_S) as client:
        await client.push("digits", artifact)
    async with Client(own.endpoint, timeout_s=SHORT_S) as client:
        with pytest.raises(UnavailableError):
            await client.pull("digits@1", copy, progress=once("receive", 2 * CHUNK_SIZE_BYTES, own.kill))
    assert not (copy / "weights.bin").exists()
    own.start()
    await own.wait_ready()
    seen: list[Progress] = []
    async with Client(own.endpoint, timeout_s=TIMEOUT_S) as client:
        await client.pull("digits@1", copy, progress=seen.append)
    assert seen[-1].present_bytes >= 2 * CHUNK_SIZE_BYTES
    check_pulled(copy, artifact)


class CutSource(RegistrySource):
    """Kills the registry before it hands on a piece, and notes which chunks it was asked for."""

    def __init__(self, server: RegistryServer, kill_at: int) -> None:
        super().__init__(lambda: [server.endpoint])
        self.asked: list[str] = []
        self._server = server
        self._left = kill_at

    async def pieces(self, chunks: Sequence[Chunk], *, unverified: bool = False) -> AsyncGenerator[bytes, None]:
        self.asked += [chunk.digest for chunk in chunks]
        async for piece in super().pieces(chunks, unverified=unverified):
            self._left -= 1
            if self._left == 0:
                self._server.kill()
            yield piece


@pytest.mark.parametrize("kill_at", [2, 17, 50])
async def test_a_worker_pulls_on_where_it_was(
    own: RegistryServer, artifact: Path, tmp_path: Path, kill_at: int
) -> None:
    async with Client(own.endpoint, timeout_s=TIMEOUT_S) as client:
        version = await client.push("digits", artifact)
    cut = CutSource(own, kill_at)
    with pytest.raises(UnavailableError):
        await ArtifactCache(tmp_path / "cache", cut).path(version.manifest_digest)
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [f".pull-{version.manifest_digest}"]
    whole = (tmp_path / "cache" / f".pull-{version.manifest_digest}" / "weights.bin").stat().st_size
    assert whole % CHUNK_SIZE_BYTES == 0
    own.start()
    await own.wait_ready()
    again = CutSource(own, 0)
    cache = ArtifactCache(tmp_path / "cache", again)  # of a worker that was started anew
    cache.clean()
    check_pulled(await cache.path(version.manifest_digest), artifact)
    assert len(again.asked) == 6 - whole // CHUNK_SIZE_BYTES
    assert (whole > 0) == (kill_at > 2)


async def test_nothing_is_left_of_a_push_that_is_cancelled(own: RegistryServer, artifact: Path) -> None:
    async with Client(own.endpoint, timeout_s=TIMEOUT_S) as client:

        def cancel() -> None:
            raise KeyError("enough")

        with pytest.raises(KeyError):
            await client.push("digits", artifact, progress=once("send", CHUNK_SIZE_BYTES + 1, cancel))
    await eventually(lambda: not own.scratch())
