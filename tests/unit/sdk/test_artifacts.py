from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.aio import Client
from modelyard.catalogue import CHUNK_SIZE_BYTES, Resources
from modelyard.errors import AlreadyExistsError, DataLossError, InvalidInputError, NotFoundError, UnavailableError
from modelyard.results import Progress
from modelyard.sdk import routes
from tests.unit.fakes import FakeSuite


def write_model(directory: Path, data: bytes = b"not looked into") -> Path:
    path = directory / "net.onnx"
    path.write_bytes(data)
    return path


def three_chunks() -> bytes:
    return b"a" * CHUNK_SIZE_BYTES + b"b" * CHUNK_SIZE_BYTES + b"c" * 1000


async def test_push_registers_uploads_and_publishes(fakes: FakeSuite, client: Client, tmp_path: Path) -> None:
    version = await client.push(
        "digits",
        write_model(tmp_path),
        alias="prod",
        labels={"team": "vision"},
        resources=Resources(cpu=1, memory_bytes=2 << 30),
    )
    assert (version.model, version.version, version.format) == ("digits", "1", "onnx")
    assert version.resources == Resources(cpu=1, memory_bytes=2 << 30)
    assert version.labels == {"team": "vision"}
    model = await client.model("digits")
    assert model.labels == {"team": "vision"}
    assert [(alias.name, alias.version) for alias in model.aliases] == [("prod", "1")]
    assert (await client.version("digits@prod")).version == "1"
    assert list(fakes.registry.chunks.values()) == [b"not looked into"]


async def test_a_second_push_sends_only_what_is_missing(fakes: FakeSuite, client: Client, tmp_path: Path) -> None:
    path = write_model(tmp_path, three_chunks())
    await client.push("digits", path)
    assert fakes.registry.received_bytes == len(three_chunks())
    path.write_bytes(three_chunks() + b"d")
    progress: list[Progress] = []
    version = await client.push("digits", path, progress=progress.append)
    assert version.version == "2"
    assert fakes.registry.received_bytes == len(three_chunks()) + 1001
    assert progress[-1] == Progress("send", 1001, 1001, present_bytes=2 * CHUNK_SIZE_BYTES)
    assert Progress("read", len(three_chunks()) + 1, len(three_chunks()) + 1) in progress


async def test_push_of_what_is_there_sends_nothing(fakes: FakeSuite, client: Client, tmp_path: Path) -> None:
    path = write_model(tmp_path)
    await client.push("digits", path)
    progress: list[Progress] = []
    await client.push("digits", path, progress=progress.append)
    assert fakes.registry.calls["UploadChunks"] == 1
    assert progress[-1] == Progress("send", 0, 0, present_bytes=len(b"not looked into"))


async def test_an_upload_that_breaks_is_repeated(fakes: FakeSuite, client: Client, tmp_path: Path) -> None:
    fakes.registry.failures["UploadChunks"] = [UnavailableError("away", retry_after_s=0.01)]
    fakes.registry.failures["chunk"] = [UnavailableError("gone", retry_after_s=0.01)]
    progress: list[Progress] = []
    await client.push("digits", write_model(tmp_path, three_chunks()), progress=progress.append)
    assert sum(map(len, fakes.registry.chunks.values())) == len(three_chunks())
    assert progress[-1].done_bytes == len(three_chunks())


async def test_an_upload_that_is_refused_ends_the_push(fakes: FakeSuite, client: Client, tmp_path: Path) -> None:
    fakes.registry.failures["chunk"] = [DataLossError("wrong digest")]
    with pytest.raises(DataLossError, match="wrong digest"):
        await client.push("digits", write_model(tmp_path))
    assert not fakes.registry.models


async def test_many_small_files_share_a_stream(fakes: FakeSuite, client: Client, tmp_path: Path) -> None:
    write_model(tmp_path)
    for index in range(100):
        (tmp_path / f"{index}.bin").write_text(str(index))
    await client.push("digits", tmp_path)
    assert fakes.registry.calls["UploadChunks"] == 1
    assert len(fakes.registry.chunks) == 101


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Direct addresses are waited for, however busy the machine is."""
    monkeypatch.setattr(routes, "REACH_S", 60)


@pytest.mark.usefixtures("patient")
async def test_chunks_go_straight_to_a_registry(fakes: FakeSuite, client: Client, tmp_path: Path) -> None:
    async with FakeSuite().serve() as direct:
        # One artifact store behind both, as in a suite.
        direct.registry.chunks = fakes.registry.chunks
        fakes.scheduler.endpoints.registries.append(direct.address)
        progress: list[Progress] = []
        version = await client.push("digits", write_model(tmp_path, three_chunks()), progress=progress.append)
        assert progress[-1] == Progress("send", len(three_chunks()), len(three_chunks()))
        await client.pull("digits", tmp_path / "copy", version=version.version)
        assert direct.registry.calls.keys() == {"UploadChunks", "DownloadChunks"}
        assert direct.registry.tenants == {"acme"}
    assert "UploadChunks" not in fakes.registry.calls
    assert (tmp_path / "copy" / "net.onnx").read_bytes() == three_chunks()


@pytest.mark.usefixtures("patient")
async def test_another_registry_at_the_direct_address_does_no_harm(
    fakes: FakeSuite, client: Client, tmp_path: Path
) -> None:
    async with FakeSuite().serve() as stranger:
        fakes.scheduler.endpoints.registries.append(stranger.address)
        await client.push("digits", write_model(tmp_path))
        assert stranger.registry.calls["UploadChunks"] == 1
    assert list(fakes.registry.chunks.values()) == [b"not looked into"]


@pytest.mark.usefixtures("patient")
async def test_a_direct_registry_that_fails_is_left(fakes: FakeSuite, client: Client, tmp_path: Path) -> None:
    async with FakeSuite().serve() as direct:
        direct.registry.failures["UploadChunks"] = [UnavailableError("draining") for _ in range(9)]
        fakes.scheduler.endpoints.registries.append(direct.address)
        await client.push("digits", write_model(tmp_path))
        assert direct.registry.calls["UploadChunks"] == 1
    assert len(fakes.registry.chunks) == 1


async def test_an_address_that_cannot_be_reached_is_passed_over(
    fakes: FakeSuite, client: Client, tmp_path: Path, unused_tcp_port: int
) -> None:
    fakes.scheduler.endpoints.registries.append(f"127.0.0.1:{unused_tcp_port}")
    await client.push("digits", write_model(tmp_path))
    assert fakes.registry.calls["UploadChunks"] == 1


def test_loopback_addresses() -> None:
    assert all(map(routes.is_loopback, ("127.0.0.1:8003", "localhost:8003", "[::1]:8003")))
    assert not any(map(routes.is_loopback, ("10.0.0.1:8003", "registry:8003")))


async def test_no_model_is_left_behind_when_the_version_is_refused(
    fakes: FakeSuite, client: Client, tmp_path: Path
) -> None:
    fakes.registry.failures["CreateVersion"] = [InvalidInputError("expected an ONNX model")]
    with pytest.raises(InvalidInputError, match="expected an ONNX model"):
        await client.push("digits", write_model(tmp_path))
    assert not fakes.registry.models


async def test_a_model_that_was_there_stays(fakes: FakeSuite, client: Client, tmp_path: Path) -> None:
    await client.register_model("digits", description="kept")
    fakes.registry.failures["CreateVersion"] = [AlreadyExistsError("other content")]
    with pytest.raises(AlreadyExistsError):
        await client.push("digits@1", write_model(tmp_path))
    assert fakes.registry.models["digits"].description == "kept"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("a/b", {}), ("digits@1", {"version": "2"}), ("digits", {"alias": "a b"}), ("x" * 129, {})],
)
async def test_malformed_names_are_refused_before_anything_is_sent(
    fakes: FakeSuite, client: Client, tmp_path: Path, name: str, arguments: dict[str, str]
) -> None:
    with pytest.raises(InvalidInputError):
        await client.push(name, write_model(tmp_path), **arguments)  # type: ignore[arg-type]
    assert not fakes.registry.calls


async def test_what_is_no_artifact_is_refused(fakes: FakeSuite, client: Client, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="found nothing"):
        await client.push("digits", tmp_path / "absent")
    with pytest.raises(InvalidInputError, match="found no file"):
        await client.push("digits", tmp_path)
    assert not fakes.registry.calls


async def test_pull_restores_the_files(client: Client, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    write_model(source, three_chunks())
    (source / "deep" / "labels.txt").write_text("0 1 2")
    (source / "empty").touch()
    await client.push("digits", source)
    progress: list[Progress] = []
    version = await client.pull("digits", tmp_path / "copy", progress=progress.append)
    assert version.version == "1"
    copied = {p.relative_to(tmp_path / "copy").as_posix() for p in (tmp_path / "copy").rglob("*") if p.is_file()}
    assert copied == {"net.onnx", "deep/labels.txt", "empty"}
    assert (tmp_path / "copy" / "net.onnx").read_bytes() == three_chunks()
    assert progress[-1].done_bytes == progress[-1].total_bytes == len(three_chunks()) + 5


async def test_pull_leaves_whole_files_and_replaces_others(fakes: FakeSuite, client: Client, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    write_model(source)
    (source / "labels.txt").write_text("0 1 2")
    await client.push("digits", source)
    await client.pull("digits@1", tmp_path / "copy")
    (tmp_path / "copy" / "labels.txt").write_text("spoilt")
    before = fakes.registry.calls["DownloadChunks"]
    progress: list[Progress] = []
    await client.pull("digits@1", tmp_path / "copy", progress=progress.append)
    assert fakes.registry.calls["DownloadChunks"] == before + 1
    assert (tmp_path / "copy" / "labels.txt").read_text() == "0 1 2"
    assert progress[-1] == Progress("receive", 5, 5, present_bytes=len(b"not looked into"))


async def test_a_pull_that_broke_off_goes_on_where_it_was(fakes: FakeSuite, client: Client, tmp_path: Path) -> None:
    await client.push("digits", write_model(tmp_path, three_chunks()))
    fakes.registry.failures["sent"] = [NotFoundError("chunk gone")]
    with pytest.raises(NotFoundError, match="chunk gone"):
        await client.pull("digits@1", tmp_path / "copy")
    assert not (tmp_path / "copy" / "net.onnx").exists()
    progress: list[Progress] = []
    await client.pull("digits@1", tmp_path / "copy", progress=progress.append)
    assert progress[-1].present_bytes == CHUNK_SIZE_BYTES
    assert (tmp_path / "copy" / "net.onnx").read_bytes() == three_chunks()
    assert [p.name for p in (tmp_path / "copy").iterdir()] == ["net.onnx"]


async def test_a_download_that_breaks_is_repeated_from_there(fakes: FakeSuite, client: Client, tmp_path: Path) -> None:
    await client.push("digits", write_model(tmp_path, three_chunks()))
    fakes.registry.failures["sent"] = [UnavailableError("away", retry_after_s=0.01) for _ in range(2)]
    await client.pull("digits@1", tmp_path / "copy")
    assert fakes.registry.calls["DownloadChunks"] == 3
    assert (tmp_path / "copy" / "net.onnx").read_bytes() == three_chunks()


async def test_bytes_with_another_digest_are_refused(fakes: FakeSuite, client: Client, tmp_path: Path) -> None:
    await client.push("digits", write_model(tmp_path, b"right"))
    (digest,) = fakes.registry.chunks
    fakes.registry.chunks[digest] = b"wrong"
    with pytest.raises(DataLossError, match="another sha256"):
        await client.pull("digits@1", tmp_path / "copy")
    assert not (tmp_path / "copy" / "net.onnx").exists()


async def test_a_manifest_that_leads_out_is_refused(fakes: FakeSuite, client: Client, tmp_path: Path) -> None:
    await client.push("digits", write_model(tmp_path))
    (manifest,) = fakes.registry.manifests.values()
    manifest.files[0].path = "../net.onnx"
    with pytest.raises(DataLossError, match="relative path"):
        await client.pull("digits@1", tmp_path / "copy")


async def test_pull_wants_a_directory(client: Client, tmp_path: Path) -> None:
    path = write_model(tmp_path)
    await client.push("digits", path)
    with pytest.raises(InvalidInputError, match="expected a directory"):
        await client.pull("digits@1", path)
    with pytest.raises(NotFoundError):
        await client.pull("absent", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
