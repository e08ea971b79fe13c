"""A version into the registry from within the suite: its files, then what is said of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from modelyard import chunks
from modelyard.catalogue import Lineage, Manifest, Resources, Version
from modelyard.errors import NotFoundError, PermissionDeniedError
from modelyard.rpc import convert
from modelyard.rpc.build import build
from modelyard.rpc.registry import SERVICE, patiently
from modelyard.rpc.replicas import Replicas
from modelyard.rpc.status import TENANT_KEY
from modelyard.rpc.storing import Storing
from modelyard.v1 import registry_pb2 as pb

CALL_S = 30.0
TIMEOUT_S = 300.0
"""The registry inspects the artifact, in a process of its own."""


@dataclass(frozen=True)
class Publication:
    """What is said of a version.

    Attributes:
        model: is registered if it is new.
        request: a second publication with the same one creates no second version.
        tenant: on whose behalf.
        resources: what an instance needs; 0: not stated.
    """

    model: str
    request: str
    tenant: str
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    lineage: Lineage = field(default_factory=Lineage)
    metrics: Mapping[str, float] = field(default_factory=dict)
    resources: Resources = field(default_factory=Resources)


class Publishing:
    """Publishes versions by the live registry replicas, in turn; `close` it in the end."""

    def __init__(self, addresses: Callable[[], Iterable[str]], patience_s: float) -> None:
        """`addresses` returns the replicas that are live now; each step waits so long for one that is away."""
        self._replicas = Replicas("registry", addresses)
        self._storing = Storing(addresses, patience_s)
        self._patience_s = patience_s

    async def close(self) -> None:
        """Close the channels; what is being sent is cancelled."""
        await self._storing.close()
        await self._replicas.close()

    async def publish(self, directory: Path, said: Publication) -> Version:
        """Publish the artifact in a directory, the next number as its name. To repeat it is safe.

        Raises:
            InvalidInputError: there is no artifact, or it is not as it should be.
            PermissionDeniedError, PreconditionError: the model is another tenant's, or deleted.
            UnavailableError: no registry could be reached for so long.
            ExhaustedError: the artifact store is full.
            DataLossError: a file changed meanwhile.
        """
        manifest = await asyncio.to_thread(chunks.scan, directory)
        await patiently(partial(self._check_owner, said), self._patience_s)
        request = _request(manifest, said)
        await self._send(directory, manifest, said)
        return await patiently(partial(self._create, request, said.tenant), self._patience_s)

    async def _check_owner(self, said: Publication) -> None:
        """The registry lets every tenant publish versions of every model; what a job makes is to be its tenant's."""
        try:
            async with self._replicas.stub(SERVICE) as stub:
                answer = await stub.GetModel(pb.GetModelRequest(name=said.model), timeout=CALL_S)
        except NotFoundError:
            return
        if (owner := convert.model_from_pb(answer).tenant) != said.tenant:
            raise PermissionDeniedError(
                f"model {said.model!r}: expected one of tenant {said.tenant!r}, it is one of {owner!r}"
            )

    async def _send(self, directory: Path, manifest: Manifest, said: Publication) -> None:
        for file in manifest.files:
            with chunks.target_path(directory, file.path).open("rb") as content:
                await self._storing.store(content, file.size_bytes, tenant=said.tenant, upload=_upload(said))

    async def _create(self, request: pb.CreateVersionRequest, tenant: str) -> Version:
        async with self._replicas.stub(SERVICE) as stub:
            answer = await stub.CreateVersion(request, timeout=TIMEOUT_S, metadata=((TENANT_KEY, tenant),))
            return convert.version_from_pb(answer)


def _upload(said: Publication) -> str:
    return f"publication-{said.request}"


def _request(manifest: Manifest, said: Publication) -> pb.CreateVersionRequest:
    return build(
        pb.CreateVersionRequest,
        model=said.model,
        format=chunks.guess_format(manifest),
        manifest=convert.manifest_to_pb(manifest),
        description=said.description,
        labels=dict(said.labels),
        metrics=dict(said.metrics),
        resources=convert.resources_to_pb(said.resources),
        lineage=convert.lineage_to_pb(said.lineage),
        request_id=said.request,
        upload=_upload(said),
        new_model=build(pb.RegisterModelRequest, name=said.model),
    )
