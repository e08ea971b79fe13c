"""A collector in a process of its own that asks before each removal: `python -m … STORE ETCD TTL_S`.

It writes a line before it removes a chunk and reads one; only then it looks whether it may. At the end it writes what
it removed, or why it stopped.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence

from modelyard.errors import ModelyardError
from modelyard.etcd import Etcd
from modelyard_registry.artifacts.collector import Collector
from modelyard_registry.artifacts.store import ChunkStore


class AskingStore(ChunkStore):
    """Asks before each removal."""

    async def remove(self, digests: Sequence[str], check: Callable[[], None]) -> Sequence[str]:
        def asked() -> None:
            print("removing", flush=True)
            sys.stdin.readline()
            check()

        return await super().remove(digests, asked)


async def main(url: str, endpoints: str, ttl_s: str) -> None:
    store, etcd = AskingStore(url, "collector"), Etcd(endpoints)
    try:
        collected = await Collector(etcd, store, "collector", float(ttl_s)).collect()
    except ModelyardError as error:
        print(type(error).__name__, error, flush=True)
    else:
        print("removed", collected.removed_chunks, flush=True)
    await etcd.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
