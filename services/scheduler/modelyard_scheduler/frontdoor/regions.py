"""Registrations of system shared memory, which all front doors share.

keys.region(name) -> deployment.Region
"""

from __future__ import annotations

from collections.abc import Mapping

from modelyard import codec, keys
from modelyard.deployment import Region
from modelyard.etcd import Compare, Delete, Etcd, Mirror, Put


class SharedRegions:
    """Registrations in etcd; calls look at a mirror of them."""

    def __init__(self, etcd: Etcd) -> None:
        self._etcd = etcd
        self._mirror = Mirror(etcd, keys.REGIONS, _decode, lambda: None)

    async def run(self) -> None:
        """Follow etcd until cancelled."""
        await self._mirror.run()

    async def find(self, name: str) -> Region | None:
        """Return one; None if there is none of that name. One that the mirror does not know is looked up in etcd."""
        return self._mirror.items.get(name) or await self._read(name)

    async def all(self) -> Mapping[str, Region]:
        """Return all by name, as etcd has them."""
        listing = await self._etcd.list(keys.REGIONS)
        return {key.removeprefix(keys.REGIONS): _decode(kept.value) for key, kept in listing.items.items()}

    async def add(self, region: Region) -> Region:
        """Register one, unless its name is taken; return what is registered by that name now."""
        key = keys.region(region.name)
        while not await self._etcd.commit([Compare(key, 0, "mod")], [Put(key, codec.encode(region))]):
            if known := await self._read(region.name):
                return known
        return region

    async def remove(self, name: str) -> None:
        """Forget one, or all where no name is given."""
        await self._etcd.commit([], [Delete(keys.region(name)) if name else Delete(keys.REGIONS, prefix=True)])

    async def _read(self, name: str) -> Region | None:
        kept = await self._etcd.get(keys.region(name))
        return _decode(kept.value) if kept else None


def _decode(value: bytes) -> Region:
    return codec.decode(Region, value)
