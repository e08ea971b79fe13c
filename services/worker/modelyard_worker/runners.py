"""The runner processes of a worker: one for each instance, but for those that name the same runner."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from pathlib import Path

from modelyard.deployment import Placement
from modelyard.tasks import stop_on_failure
from modelyard_worker.gpus import Gpus
from modelyard_worker.runner_client import Loaded
from modelyard_worker.runner_process import UNLOAD_TIMEOUT_S, RunnerFailedError, RunnerProcess, RunnerSettings


class Runners:
    """Starts runner processes as seats in them are asked for."""

    def __init__(self, settings: RunnerSettings) -> None:
        self._settings = settings
        self._gpus = Gpus(settings.gpus)
        self._shared: dict[str, list[RunnerProcess]] = {}
        self._leaving: set[asyncio.Future[None]] = set()

    def seat(self, placement: Placement, alone: bool) -> Seat:
        """Give an instance a place in a runner; `alone`: in a process of its own, whatever its options say.

        A process that holds the version already takes no second copy of it: the copy that is to follow it gets another
        process of the same name, where the next ones go too. So there are two at most, and one after all have moved.
        """
        instance = f"{placement.model}@{placement.version}"
        self._forget_the_ended()
        name = "" if alone else placement.options.runner
        if not name:
            return Seat(RunnerProcess(instance, self._settings), placement, self._gpus, self._leaving)
        living = self._shared.setdefault(name, [])
        found = next((p for p in living if instance not in p.instances), None)
        if found is None:
            found = RunnerProcess(name, self._settings)
            living.append(found)
        return Seat(found, placement, self._gpus, self._leaving)

    def _forget_the_ended(self) -> None:
        living = {name: [p for p in those if p.seats and not p.life.done()] for name, those in self._shared.items()}
        self._shared = {name: those for name, those in living.items() if those}


class Seat:
    """One instance's place in a runner process."""

    def __init__(
        self, process: RunnerProcess, placement: Placement, gpus: Gpus, all_leaving: set[asyncio.Future[None]]
    ) -> None:
        """`all_leaving`: where it is held that it is being left, until it is."""
        self._process = process
        self._gpus = gpus
        self._all_leaving = all_leaving
        self._placement = gpus.assign(placement)
        self._instance = f"{placement.model}@{placement.version}"
        self._loading: asyncio.Future[tuple[str, Loaded]] | None = None
        self._leaving: asyncio.Future[None] | None = None
        process.instances.add(self._instance)
        process.seats += 1

    async def load(self, directory: Path) -> tuple[str, Loaded]:
        """Load the instance; return the runner's endpoint and what it says of the instance.

        Raises:
            RunnerFailedError: it failed.
        """
        self._loading = asyncio.ensure_future(self._process.load(self._placement, directory))
        self._loading.add_done_callback(lambda loading: loading.cancelled() or loading.exception())  # it may be left
        return await asyncio.shield(self._loading)

    def memory_bytes(self) -> int:
        """What the whole process holds of the machine's memory."""
        return self._process.memory_bytes()

    @property
    def silent_s(self) -> float:
        """Seconds since the process's last heartbeat."""
        return self._process.silent_s

    @property
    def instances(self) -> Collection[str]:
        """What is in the process, or on its way in or out, each "model@version"."""
        return self._process.instances

    async def kill(self) -> None:
        """End the process at once, with all that is in it, if it still lives; who waits in `lost` is told."""
        await self._process.kill()

    async def lost(self) -> RunnerFailedError:
        """Return why the runner is to be replaced, once it is."""
        ended = await asyncio.shield(self._process.life)
        return RunnerFailedError(f"the runner ended: {ended}", loaded=True)

    async def leave(self) -> None:
        """Give the place up in good order: calls under way are finished. The last to leave ends the process.

        Who is cancelled meanwhile does not end that. What a shared process loads just now cannot be called back: it is
        unloaded there as soon as it is loaded, which only the next to be loaded there wait for. Nor is one waited for
        longer than UNLOAD_TIMEOUT_S that a shared process does not unload.
        """
        if self._leaving is None:
            self._process.seats -= 1
            self._leaving = asyncio.ensure_future(self._leave())
            self._all_leaving.add(self._leaving)
            self._leaving.add_done_callback(self._all_leaving.discard)
        shared = bool(self._process.seats)
        if not (shared and self._process.loads == self._instance):
            await asyncio.wait([self._leaving], timeout=UNLOAD_TIMEOUT_S if shared else None)
        if self._leaving.done():
            self._leaving.result()
        else:
            self._leaving.add_done_callback(stop_on_failure)

    async def _leave(self) -> None:
        try:
            if self._process.seats:
                await self._unload()
            elif self._is_loaded():
                await self._process.stop()
            else:
                await self._process.kill()
        finally:
            self._gpus.give_back(self._placement)

    async def _unload(self) -> None:
        if self._loading is not None:
            if self._process.loads != self._instance:
                self._loading.cancel()  # it still waits for its turn, if it is not loaded
            await asyncio.wait([self._loading])
        if self._is_loaded():
            await self._process.unload(self._instance)
        else:
            self._process.instances.discard(self._instance)

    def _is_loaded(self) -> bool:
        loading = self._loading
        return loading is not None and loading.done() and not loading.cancelled() and loading.exception() is None
