"""Triton's settings, which all front doors share and follow.

keys.settings("log" | "trace") -> JSON object, see modelyard/oip/settings.py
"""

from __future__ import annotations

import json
from collections.abc import Callable

from modelyard import keys
from modelyard.etcd import Compare, Etcd, Mirror, Put
from modelyard.oip.settings import Kept, apply_log


class SharedSettings:
    """Settings in etcd. Whoever changes those of logs changes what all front doors log."""

    def __init__(self, etcd: Etcd) -> None:
        self._etcd = etcd
        self._mirror: Mirror[Kept] = Mirror(etcd, keys.SETTINGS, json.loads, self._apply)

    async def run(self) -> None:
        """Follow etcd until cancelled."""
        await self._mirror.run()

    def _apply(self) -> None:
        apply_log(self._mirror.items.get("log", {}))

    async def read(self, kind: str) -> Kept:
        """Return them as etcd has them; empty where none has been changed yet."""
        return (await self._read(kind))[0]

    async def change(self, kind: str, change: Callable[[Kept], Kept]) -> Kept:
        """Replace them by what `change` makes of them (it may be called several times); return that."""
        key = keys.settings(kind)
        while True:
            kept, revision = await self._read(kind)
            changed = change(kept)
            value = json.dumps(changed, sort_keys=True).encode()
            if await self._etcd.commit([Compare(key, revision, "mod")], [Put(key, value)]):
                return changed

    async def _read(self, kind: str) -> tuple[Kept, int]:
        kept = await self._etcd.get(keys.settings(kind))
        return (json.loads(kept.value), kept.mod_revision) if kept else ({}, 0)
