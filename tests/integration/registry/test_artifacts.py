from __future__ import annotations

import asyncio
import math
import random
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from modelyard import keys
from modelyard.catalogue import CHUNK_SIZE_BYTES
from modelyard.errors import DataLossError, InvalidInputError, ModelyardError, NotFoundError
from modelyard.etcd import Etcd
from modelyard.v1 import registry_pb2 as pb
from tests import models
from tests.integration.registry.remote import (
    RegistryServer,
    Remote,
    header,
    manifest,
    messages,
    piece,
    refused,
    sha256,
    split,
)
from tests.waiting import eventually

DATA = b"bytes of a chunk"
OTHER = b"bytes of another"
ABSENT = sha256(b"never sent")


@pytest.fixture
async def digits(registry: Remote) -> Remote:
    await registry("RegisterModel", name="digits")
    return registry


@pytest.fixture
def fresh() -> bytes:
    """Bytes that no test has sent before."""
    return random.randbytes(100_000)


async def missing(registry: Remote, *chunks: bytes) -> list[bytes]:
    answer = await registry("FindMissingChunks", digests=[sha256(chunk) for chunk in chunks])
    return [chunk for chunk in chunks if sha256(chunk) in answer.digests]


async def not_published(digits: Remote, etcd: Etcd, kind: type[ModelyardError], **fields: Any) -> str:
    """Return why no version came of it."""
    request = {"model": "digits", "format": "onnx"} | fields
    message = await refused(kind, digits("CreateVersion", **request))
    assert list((await etcd.list(keys.MODELS)).items) == [keys.model("digits")]
    return message


async def test_upload_and_download(registry: Remote, server: RegistryServer, fresh: bytes) -> None:
    large = fresh * 90  # more than a chunk
    chunks = [*split(large), fresh]
    assert await missing(registry, *chunks) == chunks
    done = await registry.upload(messages(chunks))
    assert (done.chunks, done.size_bytes) == (3, len(large) + len(fresh))
    assert await missing(registry, *chunks, DATA[:3]) == [DATA[:3]]
    wanted = [*chunks, chunks[0]]
    assert await registry.download(map(sha256, wanted)) == [(sha256(c), len(c), c) for c in wanted]
    assert await registry.download([]) == []
    assert server.scratch() == []


async def test_a_question_for_thousands(registry: Remote, fresh: bytes) -> None:
    await registry.upload(messages([fresh]))
    absent = [sha256(str(n).encode() + fresh) for n in range(4_999)]
    answer = await registry("FindMissingChunks", digests=[*absent, sha256(fresh), *absent])
    assert list(answer.digests) == absent


@pytest.mark.parametrize(
    ("requests", "kind", "said"),
    [
        ([piece(DATA)], InvalidInputError, "header before data"),
        ([pb.UploadChunksRequest()], InvalidInputError, "header before data"),
        ([header("abc", 3), piece(b"abc")], InvalidInputError, "64 hex digits"),
        ([header(sha256(DATA), 0)], InvalidInputError, "expected 1 to"),
        ([header(sha256(DATA), -1)], InvalidInputError, "expected 1 to"),
        ([header(sha256(DATA), CHUNK_SIZE_BYTES + 1)], InvalidInputError, "expected 1 to 8388608 bytes, got 8388609"),
        ([header(sha256(DATA), len(DATA))], DataLossError, "ended after 0"),
        ([header(sha256(DATA), len(DATA)), piece(DATA[:-1])], DataLossError, "ended after 15"),
        ([header(sha256(DATA), len(DATA)), piece(DATA + b"!")], DataLossError, "got more"),
        ([header(sha256(DATA), len(DATA)), piece(b"!" + DATA[1:])], DataLossError, "expected that sha256"),
        ([header(sha256(DATA), len(DATA)), piece(DATA[:4]), *messages([OTHER])], DataLossError, "ended after 4"),
    ],
)
async def test_uploads_that_are_refused(
    registry: Remote, server: RegistryServer, requests: Any, kind: type[ModelyardError], said: str
) -> None:
    before = server.chunks()
    assert said in await refused(kind, registry.upload(requests))
    assert server.chunks() == before
    assert server.scratch() == []


async def test_a_refusal_reaches_a_client_that_is_still_sending(registry: Remote) -> None:
    requests = [header(sha256(DATA), len(DATA)), piece(OTHER), *messages([bytes(4 << 20)])]
    for _ in range(20):
        assert "expected that sha256" in await refused(DataLossError, registry.upload(requests))


async def test_a_refusal_reaches_a_client_that_waits_for_it(registry: Remote) -> None:
    call = registry.stub.UploadChunks(timeout=30)
    await call.write(piece(DATA))
    assert "header before data" in await refused(InvalidInputError, call)


async def test_chunks_before_a_bad_one_are_kept(registry: Remote, fresh: bytes) -> None:
    bad = fresh[::-1]
    await refused(DataLossError, registry.upload([*messages([fresh]), header(sha256(bad), len(bad)), piece(fresh)]))
    assert await missing(registry, fresh, bad) == [bad]


async def test_an_upload_that_is_cut_leaves_nothing(registry: Remote, server: RegistryServer, fresh: bytes) -> None:
    call = registry.stub.UploadChunks()
    for message in (header(sha256(fresh), len(fresh)), piece(fresh[:-1])):
        await call.write(message)
    call.cancel()
    assert await missing(registry, fresh) == [fresh]
    assert server.scratch() == []
    await registry.upload(messages([fresh]))
    assert await missing(registry, fresh) == []


async def test_the_same_chunk_in_many_streams_at_once(registry: Remote, server: RegistryServer, fresh: bytes) -> None:
    answers = await asyncio.gather(*(registry.upload(messages([fresh])) for _ in range(10)))
    assert {answer.chunks for answer in answers} == {1}
    assert server.chunk(sha256(fresh)).read_bytes() == fresh


async def test_downloads_that_are_refused(registry: Remote, fresh: bytes) -> None:
    await registry.upload(messages([fresh]))
    assert ABSENT in await refused(NotFoundError, registry.download([sha256(fresh), ABSENT]))
    assert "64 hex digits" in await refused(InvalidInputError, registry.download(["x" * 100_000]))
    assert "not a manifest" in await refused(NotFoundError, registry("GetManifest", digest=sha256(fresh)))
    await refused(NotFoundError, registry("GetManifest", digest=ABSENT))
    await refused(InvalidInputError, registry("GetManifest", digest="../.."))


@pytest.mark.parametrize("damaged", [lambda data: data[:-1] + b"!", lambda data: data[:10], lambda _: b""])
async def test_a_damaged_chunk_is_data_loss_until_it_is_sent_again(
    registry: Remote, server: RegistryServer, fresh: bytes, damaged: Any
) -> None:
    await registry.upload(messages([fresh]))
    server.chunk(sha256(fresh)).write_bytes(damaged(fresh))
    for _ in range(2):
        assert sha256(fresh) in await refused(DataLossError, registry.download([sha256(fresh)]))
    assert await missing(registry, fresh) == [fresh]
    await registry.upload(messages([fresh]))
    assert await registry.download([sha256(fresh)]) == [(sha256(fresh), len(fresh), fresh)]


async def test_a_push_mends_damaged_weights(digits: Remote, server: RegistryServer, etcd: Etcd, tmp_path: Path) -> None:
    models.external(tmp_path, (16, 300, 3))
    files = {f.name: f.read_bytes() for f in tmp_path.iterdir()}
    sent = await digits.send(files)
    server.chunk(sha256(files["weights.bin"])).write_bytes(b"short")
    assert "the stored bytes have another sha256" in await not_published(digits, etcd, DataLossError, manifest=sent)
    server.chunk(sha256(files["model.onnx"])).write_bytes(b"!" * len(files["model.onnx"]))
    await digits.send(files)
    assert sha256(files["model.onnx"]) in await not_published(digits, etcd, DataLossError, manifest=sent)
    await digits.push("digits", files)
    assert await digits.pull("digits") == files


async def test_a_version_of_missing_chunks(digits: Remote, etcd: Etcd, fresh: bytes) -> None:
    message = await not_published(digits, etcd, DataLossError, manifest=manifest({"m.onnx": fresh}))
    assert message == f"chunk {sha256(fresh)}: expected {len(fresh)} bytes in the store, got nothing"


async def test_a_wrong_claim_about_a_chunk_hurts_nobody_else(digits: Remote, etcd: Etcd, fresh: bytes) -> None:
    await digits.upload(messages([fresh]))
    claim = pb.File(path="m.onnx", size_bytes=len(fresh) + 1, chunks=[sha256(fresh)])
    sent = pb.Manifest(files=[claim], chunk_size_bytes=CHUNK_SIZE_BYTES)
    message = await not_published(digits, etcd, InvalidInputError, manifest=sent)
    assert message.endswith(f"expected 100000 bytes, as the store has with that sha256, got {len(fresh) + 1}")
    assert await missing(digits, fresh) == []


async def test_one_chunk_that_says_it_is_many_gigabytes(digits: Remote, server: RegistryServer, etcd: Etcd) -> None:
    chunk = bytes(CHUNK_SIZE_BYTES)
    await digits.upload(messages([chunk]))
    claim = pb.File(path="big.onnx", size_bytes=4_000 * len(chunk), chunks=[sha256(chunk)] * 4_000)
    sent = pb.Manifest(files=[claim], chunk_size_bytes=CHUNK_SIZE_BYTES)
    message = await not_published(digits, etcd, InvalidInputError, manifest=sent)
    assert message.startswith("big.onnx: expected at most 2147483647 bytes, as protobuf allows, got 33554432000; ")
    claim.path = "big.pt2"
    sent = pb.Manifest(files=[claim], chunk_size_bytes=CHUNK_SIZE_BYTES)
    assert "big.pt2: expected a zip file" in await not_published(
        digits, etcd, InvalidInputError, manifest=sent, format="torch_export"
    )
    copies = [pb.File(path=f"{n}.pt2", size_bytes=len(chunk), chunks=[sha256(chunk)]) for n in range(300)]
    sent = pb.Manifest(files=copies, chunk_size_bytes=CHUNK_SIZE_BYTES)
    message = await not_published(digits, etcd, InvalidInputError, manifest=sent, format="torch_export")
    assert message.endswith("and 2147483648 for copies; got 2516582400")
    assert server.scratch() == []


async def test_what_is_no_model(digits: Remote, server: RegistryServer, etcd: Etcd, tmp_path: Path) -> None:
    models.external(tmp_path)
    path = tmp_path / "model.onnx"
    whole = models.mlp((4, 2)).SerializeToString()
    cases = {
        "something that is not ONNX": {"m.onnx": b"not a model"},
        "got a.onnx, b.onnx": {"a.onnx": whole, "b.onnx": whole},
        "'weights.bin', which is missing": {"m.onnx": path.read_bytes()},
        "data file 'weights.bin', got 1": {"m.onnx": path.read_bytes(), "weights.bin": b"1"},
    }
    for said, files in cases.items():
        assert said in await not_published(digits, etcd, InvalidInputError, manifest=await digits.send(files))
    assert server.scratch() == []


async def test_drafts_that_are_refused(digits: Remote, etcd: Etcd, onnx_bytes: bytes) -> None:
    sent = await digits.send({"m.onnx": onnx_bytes})
    outside = pb.Manifest(files=[pb.File(path="../m.onnx", size_bytes=3, chunks=[ABSENT])], chunk_size_bytes=8 << 20)
    cases: list[tuple[str, dict[str, Any]]] = [
        ("expected one of onnx, torch_export, safetensors; got ''", {"manifest": sent, "format": ""}),
        ("expected one of onnx, torch_export, safetensors; got 'pickle'", {"manifest": sent, "format": "pickle"}),
        ("at least one file", {}),
        ("without '..', got '../m.onnx'", {"manifest": outside}),
        ("resources: cpu", {"manifest": sent, "resources": {"cpu": math.nan}}),
        ("resources: memory_bytes", {"manifest": sent, "resources": {"memory_bytes": -1}}),
        ("at most 65536 bytes", {"manifest": sent, "description": "x" * 70_000}),
        ("control characters, got 'm\\x1b[2J.onnx'", {"manifest": manifest({"m\x1b[2J.onnx": b"x"})}),
        ("metrics: expected at most 100, got 101", {"manifest": sent, "metrics": {f"m{n}": 1.0 for n in range(101)}}),
        ("at most 100000 files, got 300000", {"manifest": manifest({f"{n}": b"" for n in range(300_000)})}),
        ("at most 1024 bytes", {"manifest": manifest({"ä" * 1_000_000: b"x"})}),
    ]
    for said, fields in cases:
        assert said in await not_published(digits, etcd, InvalidInputError, **fields)
    await refused(NotFoundError, digits("CreateVersion", model="unknown", format="onnx", manifest=sent))
    await refused(InvalidInputError, digits("CreateVersion", model="", format="onnx", manifest=sent))


async def test_a_directory_with_weights_of_several_chunks(digits: Remote, tmp_path: Path) -> None:
    models.external(tmp_path, (64, 1 << 15, 2))
    files = {f"dir/{f.name}": f.read_bytes() for f in tmp_path.iterdir()} | {"empty": b"", "dir/again": b"\0" * 9}
    assert len(split(files["dir/weights.bin"])) == 2
    version = await digits.push("digits", files)
    assert version.size_bytes == sum(map(len, files.values()))
    assert await digits.pull("digits") == files


async def test_a_caller_that_goes_leaves_nothing(
    digits: Remote, server: RegistryServer, etcd: Etcd, onnx_bytes: bytes
) -> None:
    sent = await digits.send({"m.onnx": onnx_bytes})
    request = pb.CreateVersionRequest(model="digits", format="onnx", manifest=sent)
    call = digits.stub.CreateVersion(request)
    await eventually(server.scratch)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await eventually(lambda: not server.scratch())
    assert list((await etcd.list(keys.MODELS)).items) == [keys.model("digits")]
    assert (await digits("CreateVersion", model="digits", format="onnx", manifest=sent)).version == "1"


async def test_a_deadline_is_kept(digits: Remote, onnx_bytes: bytes) -> None:
    sent = await digits.send({"m.onnx": onnx_bytes})
    request = pb.CreateVersionRequest(model="digits", format="onnx", manifest=sent)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await digits.stub.CreateVersion(request, timeout=0.05)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_what_is_too_large_to_be_read_is_refused_and_the_registry_lives(registry: Remote) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match="larger than max"):
        await registry.upload([header("0" * 64, 100), piece(b"x" * (33 << 20))])
    asked = [sha256(f"missing {n}".encode()) for n in range(10_001)]
    assert "at most 10000 a question, got 10001" in await refused(
        InvalidInputError, registry("FindMissingChunks", digests=asked)
    )
    assert list((await registry("FindMissingChunks", digests=asked[1:])).digests) == asked[1:]
