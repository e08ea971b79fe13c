"""A registry in dictionaries, over real gRPC: the catalogue, and the chunks of its versions."""

# ruff: noqa: N802 (methods bear the names of the protocol)

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from modelyard.errors import DataLossError, NotFoundError
from modelyard.v1 import registry_pb2 as pb
from tests.unit.fake_catalogue import FakeCatalogue


class FakeRegistry(FakeCatalogue):
    """With chunks; `failures["chunk"]` fail an upload after its first chunk, `failures["sent"]` what is streamed."""

    def __init__(self) -> None:
        super().__init__()
        self.manifests: dict[str, pb.Manifest] = {}
        self.chunks: dict[str, bytes] = {}
        self.uploads: set[str] = set()
        self.received_bytes = 0
        self.on_create: Callable[[Any], None] = lambda request: None
        self.events: list[pb.WatchResponse] = []
        self.collected = pb.CollectGarbageResponse()

    def clear(self) -> None:
        super().clear()
        self.chunks.clear()
        self.events.clear()

    async def CreateVersion(self, request: Any, context: Any) -> Any:
        self.on_create(request)
        self.called("CreateVersion", context)
        if request.model not in self.models and request.HasField("new_model"):
            await self.RegisterModel(request.new_model, context)
        model = self._model(request.model)
        for file in request.manifest.files:
            for chunk in file.chunks:
                if chunk not in self.chunks:
                    raise DataLossError(f"chunk {chunk}: missing")
        digest = hashlib.sha256(request.manifest.SerializeToString(deterministic=True)).hexdigest()
        self.manifests[digest] = request.manifest
        number = request.version or str(1 + sum(1 for name, _ in self.versions if name == request.model))
        version = pb.Version(
            model=request.model,
            version=number,
            format=request.format,
            manifest_digest=digest,
            signature=request.declared,
            labels=request.labels,
            resources=request.resources,
            lineage=request.lineage,
            metrics=request.metrics,
            state=pb.ACTIVE,
            size_bytes=sum(f.size_bytes for f in request.manifest.files),
        )
        version.create_time.GetCurrentTime()
        self._changing(request, version)
        self.versions[request.model, number] = version
        model.latest_version = number
        return version

    async def Watch(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self.called("Watch", context)
        self.requests.append(request)
        for event in self.events:
            yield event
        if self.failures.get("told"):
            raise self.failures["told"].pop(0)

    async def FindMissingChunks(self, request: Any, context: Any) -> Any:
        self.called("FindMissingChunks", context)
        self.uploads.add(request.upload)
        missing = [digest for digest in request.digests if digest not in self.chunks]
        return pb.FindMissingChunksResponse(digests=missing)

    async def UploadChunks(self, requests: AsyncIterator[Any], context: Any) -> Any:
        self.called("UploadChunks", context)
        done = pb.UploadChunksResponse()
        digest, size_bytes, data = "", 0, b""
        async for request in requests:
            if request.WhichOneof("part") == "header":
                digest, size_bytes, data = request.header.digest, request.header.size_bytes, b""
            data += request.data
            self.received_bytes += len(request.data)
            if len(data) == size_bytes:
                if hashlib.sha256(data).hexdigest() != digest:
                    raise DataLossError(f"chunk {digest}: expected that sha256")
                self.chunks[digest] = data
                done.chunks += 1
                if self.failures.get("chunk"):
                    raise self.failures["chunk"].pop(0)
        return done

    async def GetManifest(self, request: Any, context: Any) -> Any:
        self.called("GetManifest", context)
        return self.manifests[request.digest]

    async def DownloadChunks(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self.called("DownloadChunks", context)
        for digest in request.digests:
            data = self.chunks[digest]
            header = pb.ChunkHeader(digest=digest, size_bytes=len(data))
            yield pb.DownloadChunksResponse(header=header)
            for start in range(0, len(data), 1 << 20):
                yield pb.DownloadChunksResponse(data=data[start : start + (1 << 20)])
            if self.failures.get("sent"):
                raise self.failures["sent"].pop(0)

    async def ReadFile(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self.called("ReadFile", context)
        self.requests.append(request)
        manifest = self.manifests[self.versions[request.model, request.version].manifest_digest]
        files = {file.path: b"".join(self.chunks[digest] for digest in file.chunks) for file in manifest.files}
        if request.path not in files:
            raise NotFoundError(f"{request.model}@{request.version}: no file {request.path!r}")
        end = request.offset + request.length if request.length else None
        for byte in files[request.path][request.offset : end]:
            yield pb.ReadFileResponse(data=bytes([byte]))
            if self.failures.get("sent"):
                raise self.failures["sent"].pop(0)

    async def CollectGarbage(self, request: Any, context: Any) -> Any:
        self.called("CollectGarbage", context)
        self.requests.append(request)
        return self.collected
