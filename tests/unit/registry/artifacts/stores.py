from __future__ import annotations

from pathlib import Path

from modelyard_registry.artifacts.store import ChunkStore


async def opened(url: str | Path, owner: str = "registry-0") -> ChunkStore:
    found = ChunkStore(str(url), owner)
    await found.prepare()
    return found
