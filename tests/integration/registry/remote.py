"""A real registry process, and a client of it that says exactly what is sent."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from modelyard.catalogue import CHUNK_SIZE_BYTES
from modelyard.errors import ModelyardError, UnavailableError
from modelyard.local.ports import Port
from modelyard.rpc.channel import Stub, open_channel
from modelyard.rpc.health import check_serving
from modelyard.rpc.status import TENANT_KEY, error_of
from modelyard.v1 import registry_pb2 as pb
from tests.servers import ProgramServer
from tests.waiting import eventually

PIECE_BYTES = 1 << 20

TIMEOUT_S = 120.0
"""Of a call: many versions at once are as many processes that check them."""


class RegistryServer(ProgramServer):
    """`python -m modelyard_registry` on a port of its own, with its log and (unless told) its store in a directory."""

    def __init__(
        self,
        directory: Path,
        etcd: str,
        *,
        name: str = "registry-0",
        store: Path | None = None,
        prefix: Sequence[str] = (),
        options: Sequence[str] = (),
    ) -> None:
        port = Port()
        directory.mkdir(parents=True, exist_ok=True)
        self.store = store or directory / "store"
        self.log = directory / f"{name}.log"
        flags = {"id": name, "port": port.number, "etcd": etcd, "store": self.store, "metrics-port": 0}
        command = [sys.executable, "-m", "modelyard_registry", *(f"--{k}={v}" for k, v in flags.items())]
        super().__init__([*prefix, *command, *options], [port], self.log, _serves)

    def chunk(self, digest: str) -> Path:
        """Where the store keeps a chunk."""
        return self.store / "chunks" / digest[:2] / digest

    def chunks(self) -> list[Path]:
        """Every file among the chunks."""
        return [f for f in (self.store / "chunks").rglob("*") if f.is_file()]

    def scratch(self) -> list[Path]:
        """What is unfinished."""
        return list((self.store / "scratch").glob("*/*"))

    def signal_stop(self) -> None:
        """SIGTERM; do not wait."""
        os.kill(self.pid, signal.SIGTERM)

    def returncode(self) -> int:
        """Wait for its end; return the exit status."""
        assert self._process is not None
        return self._process.wait(30)


async def _serves(address: str) -> None:
    async def answers() -> bool:
        try:
            await check_serving(address, 2.0)
        except UnavailableError:
            return False
        return True

    await eventually(answers)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def split(data: bytes) -> list[bytes]:
    """The chunks of a file."""
    return [data[start : start + CHUNK_SIZE_BYTES] for start in range(0, len(data), CHUNK_SIZE_BYTES)]


def manifest(files: dict[str, bytes]) -> pb.Manifest:
    """The manifest of these files."""
    entries = [
        pb.File(path=path, size_bytes=len(data), chunks=[sha256(chunk) for chunk in split(data)])
        for path, data in files.items()
    ]
    return pb.Manifest(files=entries, chunk_size_bytes=CHUNK_SIZE_BYTES)


def header(digest: str, size_bytes: int) -> pb.UploadChunksRequest:
    return pb.UploadChunksRequest(header=pb.ChunkHeader(digest=digest, size_bytes=size_bytes))


def piece(data: bytes) -> pb.UploadChunksRequest:
    return pb.UploadChunksRequest(data=data)


def messages(chunks: Iterable[bytes]) -> list[pb.UploadChunksRequest]:
    """What uploads these chunks."""
    found = []
    for chunk in chunks:
        found.append(header(sha256(chunk), len(chunk)))
        found += [piece(chunk[start : start + PIECE_BYTES]) for start in range(0, len(chunk), PIECE_BYTES)]
    return found


async def refused(kind: type[ModelyardError], call: Awaitable[Any]) -> str:
    """Return the message with which a call fails as it must."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = error_of(caught.value)
    assert type(error) is kind, caught.value
    assert caught.value.code().name == kind.status
    return error.message


class Remote:
    """A registry over gRPC."""

    def __init__(self, address: str, tenant: str = "") -> None:
        self.channel = open_channel(address)
        self.stub = Stub(self.channel, pb.DESCRIPTOR.services_by_name["Registry"])
        self._metadata = ((TENANT_KEY, tenant),) if tenant else ()

    async def close(self) -> None:
        await self.channel.close(None)

    async def __call__(self, method: str, **fields: Any) -> Any:
        """Call a unary method."""
        name = pb.DESCRIPTOR.services_by_name["Registry"].methods_by_name[method].input_type.name
        request = getattr(pb, name)(**fields)
        return await getattr(self.stub, method)(request, timeout=TIMEOUT_S, metadata=self._metadata)

    async def upload(self, requests: Iterable[pb.UploadChunksRequest]) -> pb.UploadChunksResponse:
        """Send messages as they are."""

        async def stream() -> AsyncIterator[pb.UploadChunksRequest]:
            for request in requests:
                yield request

        answer: pb.UploadChunksResponse = await self.stub.UploadChunks(stream(), timeout=TIMEOUT_S)
        return answer

    async def send(self, files: dict[str, bytes]) -> pb.Manifest:
        """Upload the chunks that the registry lacks; return the manifest."""
        found = manifest(files)
        chunks = {sha256(chunk): chunk for data in files.values() for chunk in split(data)}
        missing = (await self("FindMissingChunks", digests=list(chunks))).digests
        await self.upload(messages(chunks[digest] for digest in missing))
        return found

    async def push(self, model: str, files: dict[str, bytes], version: str = "", **fields: Any) -> pb.Version:
        """Upload and publish, as ONNX unless `format` says otherwise."""
        sent = await self.send(files)
        request = {"model": model, "version": version, "format": "onnx", "manifest": sent} | fields
        created = await self("CreateVersion", **request)
        assert isinstance(created, pb.Version)
        return created

    async def download(self, digests: Iterable[str]) -> list[tuple[str, int, bytes]]:
        """The chunks in the order asked for: digest and size as announced, and the bytes."""
        found: list[tuple[str, int, bytes]] = []
        async for part in self.stub.DownloadChunks(pb.DownloadChunksRequest(digests=digests), timeout=TIMEOUT_S):
            if part.WhichOneof("part") == "header":
                found.append((part.header.digest, part.header.size_bytes, b""))
            else:
                digest, size_bytes, data = found.pop()
                found.append((digest, size_bytes, data + part.data))
        return found

    async def pull(self, model: str, version: str = "") -> dict[str, bytes]:
        """Every file of a version."""
        found = await self("GetVersion", model=model, version=version)
        files = (await self("GetManifest", digest=found.manifest_digest)).files
        return {f.path: b"".join([data for _, _, data in await self.download(f.chunks)]) for f in files}
