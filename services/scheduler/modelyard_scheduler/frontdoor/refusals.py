"""Refusals that all front doors share: what killed two runners of one of them is let through by none.

keys.refusal(version, digest) -> nothing, under a lease that nobody renews
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from modelyard import keys
from modelyard.errors import PASSING
from modelyard.etcd import Etcd, Mirror
from modelyard.names import ModelVersion, parse_reference
from modelyard.tasks import stop_on_failure
from modelyard_scheduler.frontdoor.poison import MAX_REFUSALS, REFUSED_S, Refusals, digest

log = logging.getLogger(__name__)


class SharedRefusals(Refusals):
    """Refusals that are written to etcd and read from it; calls look at what is known here.

    While etcd is away a front door has its own, and what it has been told.
    """

    def __init__(self, etcd: Etcd, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self._etcd = etcd
        self._mirror = Mirror(etcd, keys.REFUSALS, bytes, self._follow)
        self._told: dict[str, int] = {}
        self._writes: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Follow etcd until cancelled."""
        await self._mirror.run()

    def add(self, version: ModelVersion, request: bytes) -> None:
        """Refuse the inputs of a serialized request from now on; the others are told in the background."""
        super().add(version, request)
        if len(self._mirror.items) >= MAX_REFUSALS:
            return
        task = asyncio.ensure_future(self._tell(keys.refusal(str(version), digest(request).hex())))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        task.add_done_callback(stop_on_failure)

    async def _tell(self, key: str) -> None:
        try:
            await self._etcd.put(key, b"", await self._etcd.grant(int(REFUSED_S)))
        except PASSING as error:
            log.warning("a refusal is this front door's own", extra={"key": key, "reason": str(error)})

    def _follow(self) -> None:
        told = self._mirror.revisions
        for name in self._told.keys() - told.keys():
            self.forget(*_read(name))
        for name, revision in told.items():
            if self._told.get(name) != revision:
                self.refuse(*_read(name))
        self._told = dict(told)

    async def close(self) -> None:
        """End what is under way."""
        for task in self._writes:
            task.cancel()
        await asyncio.gather(*self._writes, return_exceptions=True)


def _read(name: str) -> tuple[ModelVersion, bytes]:
    version, _, inputs = name.partition("/")
    return parse_reference(version), bytes.fromhex(inputs)
