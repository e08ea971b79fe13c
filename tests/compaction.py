"""etcd's compaction, which only tests ask for: in service etcd does it by itself."""

from __future__ import annotations

from aetcd import rpc

from modelyard.etcd import Etcd


async def compact(client: Etcd) -> None:
    """Forget every revision before the present one."""
    revision = await client.revision()
    await client._call("kv", "Compact", rpc.CompactionRequest(revision=revision, physical=True))
