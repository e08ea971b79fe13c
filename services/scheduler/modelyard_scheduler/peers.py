"""The other services over gRPC: the registry's versions and artifacts, the agents' logs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc.aio

from modelyard.catalogue import Lifecycle, Manifest, Version
from modelyard.deployment import Member
from modelyard.errors import DataLossError, NotFoundError, PreconditionError
from modelyard.rpc import convert
from modelyard.rpc.channel import Stub, open_channel
from modelyard.rpc.registry import SERVICE
from modelyard.rpc.replicas import Replicas
from modelyard.rpc.status import TENANT_KEY, error_of
from modelyard.v1 import agent_pb2, registry_pb2

TIMEOUT_S = 10.0
QUESTION_DIGESTS = 10_000
Metadata = tuple[tuple[str, str], ...]


def addresses_of(members: Mapping[str, Member]) -> list[str]:
    """Where the members of a role are, host:port."""
    return [member.address for member in members.values()]


async def find_version(registries: Replicas, model: str, reference: str) -> Version:
    """Ask the registry for a version, an alias's or (empty) the newest."""
    request = registry_pb2.GetVersionRequest(model=model, version=reference)
    return convert.version_from_pb(await _ask(registries, "GetVersion", request))


async def find_usable_version(registries: Replicas, model: str, reference: str) -> Version:
    """As `find_version`; raise PreconditionError if the version, or its model, is deleted."""
    version = await find_version(registries, model, reference)
    held = convert.model_from_pb(await _ask(registries, "GetModel", registry_pb2.GetModelRequest(name=model)))
    if Lifecycle.DELETED in {version.state, held.state}:
        what = f"model {model!r}" if held.state is Lifecycle.DELETED else f"{model}@{version.version}"
        raise PreconditionError(f"{what}: it is deleted; undelete it first")
    return version


async def set_alias(registries: Replicas, version: Version, alias: str, tenant: str) -> None:
    """Have an alias mean a version. To repeat it is safe.

    Raises:
        AlreadyExistsError: a version has that name.
        PreconditionError: the version breaks who calls the alias, or is deleted.
    """
    request = registry_pb2.SetAliasRequest(model=version.model, alias=alias, version=version.version)
    await _ask(registries, "SetAlias", request, ((TENANT_KEY, tenant),))


async def hold_artifact(registries: Replicas, digest: str, tenant: str, upload: str) -> Manifest:
    """Have the registry hold an artifact for a day under the name of an upload; return its manifest.

    Raises:
        NotFoundError: the store has no such manifest.
        DataLossError: it lacks some of the chunks: they were not uploaded, or collected since.
    """
    metadata = ((TENANT_KEY, tenant),)
    held = registry_pb2.FindMissingChunksRequest(digests=[digest], upload=upload)
    if (await _ask(registries, "FindMissingChunks", held, metadata)).digests:
        raise NotFoundError(f"manifest {digest}: not in the artifact store")
    manifest = convert.manifest_from_pb(
        await _ask(registries, "GetManifest", registry_pb2.GetManifestRequest(digest=digest))
    )
    chunks = list(manifest.chunk_sizes())
    for start in range(0, len(chunks), QUESTION_DIGESTS):
        some = chunks[start : start + QUESTION_DIGESTS]
        request = registry_pb2.FindMissingChunksRequest(digests=some, upload=upload)
        missing = (await _ask(registries, "FindMissingChunks", request, metadata)).digests
        if missing:
            raise DataLossError(f"manifest {digest}: {len(missing)} of its chunks are missing, such as {missing[0]}")
    return manifest


async def _ask(registries: Replicas, method: str, request: Any, metadata: Metadata = ()) -> Any:
    async with registries.stub(SERVICE) as stub:
        return await getattr(stub, method)(request, timeout=TIMEOUT_S, metadata=metadata)


async def read_log(agent: str, instance: str, tail_bytes: int) -> AsyncIterator[bytes]:
    """Stream the end of an instance's log from the agent at host:port."""
    async with open_channel(agent) as channel:
        stub = Stub(channel, agent_pb2.DESCRIPTOR.services_by_name["Agent"])
        request = agent_pb2.ReadInstanceLogRequest(instance=instance, tail_bytes=tail_bytes)
        try:
            async for part in stub.ReadInstanceLog(request, timeout=TIMEOUT_S):
                yield part.data
        except grpc.aio.AioRpcError as failure:
            raise error_of(failure) from failure
