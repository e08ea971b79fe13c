"""What the Jobs API asks of the registry."""

from __future__ import annotations

from modelyard.catalogue import Manifest, Version
from modelyard.rpc.replicas import Replicas
from modelyard.rpc.storing import Storing
from modelyard_scheduler.peers import find_usable_version, hold_artifact


class LiveRegistry:
    """submission.Registry over the replicas that are live."""

    def __init__(self, registries: Replicas, storing: Storing) -> None:
        self._registries = registries
        self._storing = storing

    async def find_usable_version(self, model: str, reference: str) -> Version:
        """As Registry."""
        return await find_usable_version(self._registries, model, reference)

    async def hold_artifact(self, digest: str, tenant: str, upload: str) -> Manifest:
        """As Registry."""
        return await hold_artifact(self._registries, digest, tenant, upload)

    async def store_artifact(self, path: str, content: bytes, *, tenant: str, upload: str) -> str:
        """As Registry."""
        return await self._storing.store_artifact(path, content, tenant=tenant, upload=upload)
