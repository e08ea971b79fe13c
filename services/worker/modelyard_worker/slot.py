"""One placement's slot: its instance, and beside it the one that follows it when the placement changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any, Protocol

from modelyard.deployment import Instance, InstanceState, Placement
from modelyard.tasks import stop_on_failure, unless
from modelyard_worker.instance import InstanceKeeper

log = logging.getLogger(__name__)

Announce = Callable[[Instance], Awaitable[None]]
Make = Callable[[Placement, Announce], InstanceKeeper[Any]]


class Surroundings(Protocol):
    """What a slot needs of its agent."""

    def make(self, placement: Placement, announce: Announce) -> InstanceKeeper[Any]:
        """Return a keeper, which does not run yet."""
        ...

    async def publish(self, instance: Instance) -> None:
        """Announce an instance."""
        ...

    async def published(self) -> None:
        """Return when all that was announced is in etcd."""
        ...

    async def has_room(self, placement: Placement) -> bool:
        """Whether one more copy fits beside all that is here, once what is on its way out is gone; wait for that."""
        ...

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run what ends an instance; until it is done nothing new is loaded, for their memory is the same."""
        ...


class Kept:
    """A keeper and the task it runs in.

    Attributes:
        leaving: whether it is on its way out.
        gone: done when it is gone.
    """

    def __init__(self, placement: Placement, make: Make, say: Callable[[Kept, Instance], Awaitable[None]]) -> None:
        self.keeper = make(placement, lambda instance: say(self, instance))
        self.leaving = False
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.ensure_future(self.keeper.run())
        self._task.add_done_callback(stop_on_failure)

    @property
    def placement(self) -> Placement:
        """What is kept."""
        return self.keeper.placement

    async def leave(self, *, announced: bool = False) -> None:
        """Unload it in good order; `announced`: say so first, so that it gets no more calls."""
        self.leaving = True
        await self.stop()
        await (self.keeper.unload() if announced else self.keeper.leave())
        self.gone.set_result(None)

    async def stop(self) -> None:
        """Let it go on as it is, unwatched: what is loaded stays until it is unloaded."""
        self._task.cancel()
        await asyncio.wait([self._task])


class Slot:
    """Keeps an instance equal to its placement.

    When the placement changes while its instance is READY, the new one is loaded beside it, and the old one is unloaded
    when the new one is announced in its place: calls are answered all the while. As long as the new one fails, the old
    one stays, and its announcement says why. Where both together do not fit, the old one is unloaded first.
    """

    def __init__(self, placement: Placement, agent: Surroundings) -> None:
        self._agent = agent
        self._ending = asyncio.Event()
        self._kept: list[Kept] = []
        self._current = self._keep(placement)
        self._next: Kept | None = None

    def _keep(self, placement: Placement) -> Kept:
        kept = Kept(placement, self._agent.make, self._say)
        self._kept.append(kept)
        return kept

    @property
    def kept(self) -> list[Kept]:
        """All copies that are here, also those on their way out."""
        self._kept = [kept for kept in self._kept if not kept.gone.done()]
        return self._kept

    @property
    def placement(self) -> Placement:
        """What is kept, or is about to be."""
        return (self._next or self._current).placement

    async def change(self, placement: Placement) -> None:
        """Have the instance follow another placement of the same version."""
        dropped, self._next = self._next, None
        if dropped is not None:
            await dropped.leave()
        if same(placement, self._current.placement):
            await self._agent.publish(self._current.keeper.said)
        elif self._is_ready() and await self._agent.has_room(placement) and self._is_ready():
            self._next = self._keep(placement)
        else:
            await self._current.leave(announced=self._is_ready())
            self._current = self._keep(placement)

    def _is_ready(self) -> bool:
        return self._current.keeper.said.state is InstanceState.READY

    async def end(self) -> None:
        """Unload all in good order."""
        self._ending.set()
        dropped, self._next = self._next, None
        for kept in filter(None, (dropped, self._current)):
            await kept.stop()
        await asyncio.gather(self._current.leave(announced=True), *([dropped.leave()] if dropped else []))

    async def _say(self, kept: Kept, instance: Instance) -> None:
        if kept is self._current:
            await self._agent.publish(instance)
        elif kept is self._next and instance.state is InstanceState.READY:
            await self._succeed(kept, instance)
        elif kept is self._next and instance.reason:
            await self._say_of_next(instance)

    async def _succeed(self, kept: Kept, ready: Instance) -> None:
        old, self._current, self._next = self._current, kept, None
        old.leaving = True
        try:
            await self._agent.publish(ready)
        finally:
            self._agent.spawn(self._retire(old))

    async def _say_of_next(self, instance: Instance) -> None:
        said = self._current.keeper.said
        if said.state is InstanceState.READY:
            reason = f"with the placement's new options: {instance.reason}"
            await self._agent.publish(replace(said, reason=reason, failures=instance.failures))

    async def _retire(self, old: Kept) -> None:
        await old.stop()
        # Before that, front doors know only the old one.
        await unless(self._ending, self._agent.published())
        await old.leave()
        log.info("replaced", extra={"model": old.placement.model, "version": old.placement.version})


def same(wanted: Placement, held: Placement) -> bool:
    """Whether two placements are of the same content, whoever has decided them."""
    return (wanted.manifest_digest, wanted.format, wanted.options) == (held.manifest_digest, held.format, held.options)
