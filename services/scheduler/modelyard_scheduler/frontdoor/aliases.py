"""The aliases of the models that are called by one: followed in etcd, from the first such call on."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass

from modelyard import codec, keys
from modelyard.catalogue import Alias
from modelyard.etcd import Etcd, Mirror
from modelyard.tasks import stop_on_failure

MAX_MODELS = 1000
SYNC_S = 2.0
"""How long the first call by alias waits for etcd."""


@dataclass(frozen=True)
class _Followed:
    mirror: Mirror[Alias]
    task: asyncio.Task[None]


class Aliases:
    """Follows the aliases of at most MAX_MODELS models: of more, those that were not called for longest are let go.

    While etcd is away the last known ones are told.
    """

    def __init__(self, etcd: Etcd, max_models: int = MAX_MODELS) -> None:
        self._etcd = etcd
        self._max_models = max_models
        self._followed: OrderedDict[str, _Followed] = OrderedDict()

    def known(self, model: str, name: str) -> Alias | None:
        """An alias as it is known now, without waiting."""
        followed = self._followed.get(model)
        if followed is None or not followed.mirror.synced.is_set():
            return None
        self._followed.move_to_end(model)
        return followed.mirror.items.get(name)

    async def find(self, model: str, name: str) -> Alias | None:
        """An alias of a model, which is followed from now on; None if it has no such alias, or etcd is silent."""
        if model not in self._followed:
            self._follow(model)
        followed = self._followed[model]
        try:
            async with asyncio.timeout(SYNC_S):
                await followed.mirror.synced.wait()
        except TimeoutError:
            return None
        return followed.mirror.items.get(name)

    def _follow(self, model: str) -> None:
        while len(self._followed) >= self._max_models:
            self._followed.popitem(last=False)[1].task.cancel()
        mirror = Mirror(self._etcd, keys.aliases(model), lambda data: codec.decode(Alias, data), lambda: None)
        task = asyncio.ensure_future(mirror.run())
        task.add_done_callback(stop_on_failure)
        self._followed[model] = _Followed(mirror, task)

    async def close(self) -> None:
        """Follow none any more."""
        tasks = [followed.task for followed in self._followed.values()]
        self._followed.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
