"""Saying in etcd that on-demand deployments are called, so that the leader has them loaded and keeps them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable

from modelyard import codec, keys
from modelyard.deployment import Activity
from modelyard.errors import PASSING
from modelyard.etcd import Etcd
from modelyard.names import ModelVersion
from modelyard.tasks import stop_on_failure

log = logging.getLogger(__name__)

EVERY_S = 5.0
"""How often it is said of a version that has a stream."""
URGENT_S = 1.0
"""How often it is said of one that has none: the leader may have evicted it just now."""
REMEMBERED = 10_000


class Demand:
    """Writes keys.activity, however many calls there are, once in a while."""

    def __init__(self, etcd: Etcd, clock: Callable[[], float] = time.monotonic) -> None:
        self._etcd = etcd
        self._clock = clock
        self._said_s: dict[ModelVersion, float] = {}
        self._writes: set[asyncio.Task[None]] = set()

    def note(self, version: ModelVersion, every_s: float = EVERY_S) -> None:
        """A call of a version has come. It is said in the background, unless it was within the last `every_s`."""
        now_s = self._clock()
        if now_s - self._said_s.get(version, -every_s) < every_s:
            return
        if len(self._said_s) >= REMEMBERED:
            self._said_s.clear()
        self._said_s[version] = now_s
        task = asyncio.ensure_future(self._say(version))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        task.add_done_callback(stop_on_failure)

    async def run(self, busy: Callable[[], Iterable[ModelVersion]]) -> None:
        """Note also the versions that are `busy` with calls which take long, until cancelled."""
        while True:
            for version in busy():
                self.note(version)
            await asyncio.sleep(URGENT_S)

    async def _say(self, version: ModelVersion) -> None:
        try:
            value = codec.encode(Activity(time.time()))
            await self._etcd.put(keys.activity(version.model, version.version), value)
        except PASSING as error:
            log.warning("activity was not written", extra={"version": str(version), "reason": str(error)})
            self._said_s.pop(version, None)

    async def close(self) -> None:
        """End what is under way."""
        for task in self._writes:
            task.cancel()
        await asyncio.gather(*self._writes, return_exceptions=True)
