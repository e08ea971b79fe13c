"""One placement made real: pull, load, announce, watch over it, load it anew when its runner dies."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from modelyard.backoff import Backoff
from modelyard.deployment import Instance, InstanceState, Placement
from modelyard.errors import ModelyardError, UnavailableError
from modelyard_worker.cache import ArtifactCache
from modelyard_worker.runner_client import Loaded
from modelyard_worker.runner_process import RunnerFailedError

log = logging.getLogger(__name__)


class Place(Protocol):
    """Where an instance is: in a process, alone or beside others."""

    async def load(self, directory: Path) -> tuple[str, Loaded]:
        """Load it; return the endpoint of its process, empty if it takes no calls, and what it says of it.

        Raises:
            RunnerFailedError: it failed.
        """
        ...

    def memory_bytes(self) -> int:
        """What the process holds of the machine's memory."""
        ...

    async def lost(self) -> RunnerFailedError:
        """Return why the process is to be replaced, once it is."""
        ...

    async def leave(self) -> None:
        """Give the place up in good order."""
        ...


class Jobs(Protocol):
    """Tasks of jobs that an instance executes.

    Attributes:
        has_worked: whether it has executed one to its end.
        has_lost: whether the runner has died while it may have executed one.
    """

    has_worked: bool
    has_lost: bool

    def leave(self) -> asyncio.Future[None]:
        """Begin no more; done when none is under way any more, which need not be waited for."""
        ...


P = TypeVar("P", bound=Place)
MAX_REASON = 2000
"""Characters of a reason; an engine's message may have any length."""
LONG_LIFE_S = 30.0
"""An instance that was READY for so long was well: its next failure is counted as the first."""
ACCOUNT_S = 2.0
"""So long after a runner's end it may take until it is known whether it had tasks of jobs."""
MOST_DEATHS = 30
"""Of tasks of jobs, before any of them could be executed: a model that always dies is at fault itself."""


class InstanceKeeper(Generic[P]):
    """Keeps one placement running until it is told to unload."""

    def __init__(
        self,
        placement: Placement,
        cache: ArtifactCache,
        seating: Callable[[Placement, bool], P],
        announce: Callable[[Instance], Awaitable[None]],
        admit: Callable[[Instance, P], Jobs] | None = None,
    ) -> None:
        """Nothing is begun.

        Args:
            placement: what is kept.
            cache: where artifacts are.
            seating: gives it a place; if true, in a process of its own whatever its options say.
            announce: gets what is to be said of it.
            admit: has tasks of jobs executed by it while it is READY; None: there are none.
        """
        self.placement = placement
        self.said = _unloaded(placement)
        """What was announced last."""
        self._cache = cache
        self._seating = seating
        self._announce = announce
        self._admit = admit
        self._jobs: Jobs | None = None
        self._has_worked = False
        self._deaths_of_jobs = 0
        self._seat: P | None = None
        self._shuns_others = False
        self._ready_s = math.inf
        self._artifact = ExitStack()
        self._artifact.enter_context(cache.held(placement.manifest_digest))

    async def run(self) -> None:
        """Load, watch over and load anew, until cancelled."""
        backoff = Backoff(0.25, 30.0)
        await self._say(self._blank())
        while True:
            self._ready_s = math.inf
            try:
                await self._run_once()
            except RunnerFailedError as error:
                if error.of_jobs:
                    await self._say(replace(self._blank(), reason=f"{error.reason}; loading anew"))
                    continue
                # A model that kills the runner that loads it is tried again where it can harm no other.
                self._shuns_others = error.blamed
                state = InstanceState.LOADING if error.loaded else InstanceState.FAILED
                await self._fail(state, f"{error.reason}; loading anew")
            except UnavailableError as error:
                await self._say(replace(self._blank(), reason=error.message))
            except (ModelyardError, OSError) as error:
                await self._fail(InstanceState.FAILED, str(error))
            except Exception as error:  # a bug of ours takes one model, not the worker
                log.exception("unforeseen error", extra={"model": self.placement.model})
                reason = f"internal error: {type(error).__name__}; the worker's log has its stack"
                await self._fail(InstanceState.FAILED, reason)
            if self._was_well():
                backoff.reset()
            await asyncio.sleep(backoff.next())

    async def unload(self) -> None:
        """Take the instance out of routing, then unload it in good order. Call it when `run` has ended."""
        await self._say(replace(self._blank(), state=InstanceState.UNLOADING))
        await self.leave()

    async def leave(self) -> None:
        """Unload it in good order; nothing is announced. Call it when `run` has ended."""
        if self._jobs is not None:
            await asyncio.shield(self._jobs.leave())
        if self._seat is not None:
            await self._seat.leave()
        self._artifact.close()

    async def _run_once(self) -> None:
        directory = await self._cache.path(self.placement.manifest_digest)
        self._seat = seat = self._seating(self.placement, self._shuns_others)
        try:
            endpoint, loaded = await seat.load(directory)
            ready = replace(
                self._blank(),
                state=InstanceState.READY,
                endpoint=endpoint,
                execute_endpoint=f"{endpoint.rpartition(':')[0]}:{loaded.execute_port}" if endpoint else "",
                signature=loaded.signature,
                platform=loaded.platform,
                memory_bytes=seat.memory_bytes(),
            )
            await self._say(ready)
            self._ready_s = asyncio.get_running_loop().time()
            self._jobs = self._admit(ready, seat) if self._admit else None
            lost = await seat.lost()
            lost.of_jobs = await self._was_of_jobs() or lost.of_jobs
            raise lost
        except Exception:  # on cancellation the seat is left by `leave`, in good order
            await seat.leave()
            raise

    async def _was_of_jobs(self) -> bool:
        """Whether the runner may have died of what it executed for jobs: who queues that decides how often it may."""
        if self._jobs is None:
            return False
        await asyncio.wait([self._jobs.leave()], timeout=ACCOUNT_S)
        self._has_worked = self._has_worked or self._jobs.has_worked
        self._deaths_of_jobs += self._jobs.has_lost
        return self._jobs.has_lost and (self._has_worked or self._deaths_of_jobs <= MOST_DEATHS)

    def _was_well(self) -> bool:
        return asyncio.get_running_loop().time() - self._ready_s > LONG_LIFE_S

    def _blank(self) -> Instance:
        return replace(_unloaded(self.placement), failures=self.said.failures)

    async def _fail(self, state: InstanceState, reason: str) -> None:
        failures = 1 if self._was_well() else self.said.failures + 1
        await self._say(replace(self._blank(), state=state, reason=reason, failures=failures))

    async def _say(self, instance: Instance) -> None:
        self.said = instance = replace(instance, reason=instance.reason[:MAX_REASON])
        facts = {"model": instance.model, "version": instance.version, "reason": instance.reason}
        if instance.reason:
            log.warning("instance not ready", extra=facts)
        elif instance.state is InstanceState.READY:
            log.info("instance ready", extra={**facts, "memory_bytes": instance.memory_bytes})
        await self._announce(instance)


def _unloaded(placement: Placement) -> Instance:
    return Instance(
        placement.model, placement.version, placement.worker, InstanceState.LOADING, options=placement.options
    )
