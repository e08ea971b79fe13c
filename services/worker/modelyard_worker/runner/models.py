"""What this runner holds: instances are loaded off the event loop, kept by name, and give their memory back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from modelyard.deployment import InstanceOptions
from modelyard.errors import AlreadyExistsError, ModelExecutionError, ModelyardError, NotFoundError
from modelyard.names import ModelVersion
from modelyard_worker import runtimes
from modelyard_worker.runner.loaded import LoadedModel, Observe
from modelyard_worker.runner.requests import check_batching
from modelyard_worker.runner.warm_up import warm_up
from modelyard_worker.runtimes import Runtime

log = logging.getLogger(__name__)

LINGER_S = 3.0
"""How long an instance that is to be unloaded waits for the front doors to close their streams."""

Load = Callable[[str, Path, InstanceOptions, int], Runtime]


@dataclass(frozen=True)
class LoadOrder:
    """What is to be loaded.

    Attributes:
        worker: whose instance it is; every response names it.
        directory: of the artifact's files, on this machine.
    """

    instance: ModelVersion
    worker: str
    format: str
    directory: Path
    options: InstanceOptions


@dataclass(frozen=True)
class Held:
    """An instance, perhaps still being loaded."""

    order: LoadOrder
    loading: asyncio.Task[LoadedModel]


class Models:
    """The instances of one runner, by "model@version"."""

    def __init__(
        self,
        cores: int,
        observe: Callable[[ModelVersion], Observe] | None = None,
        load: Load = runtimes.load,
    ) -> None:
        """Hold nothing yet.

        Args:
            cores: threads of an instance whose options name none.
            observe: returns what is called for each batch of an instance.
            load: of an engine; called in a thread.
        """
        self._cores = cores
        self._observe = observe
        self._load = load
        self._held: dict[str, Held] = {}

    async def load(self, order: LoadOrder) -> LoadedModel:
        """Load an instance; return it when it answers calls. The same order again returns the same instance.

        Who is cancelled while waiting leaves it loading: it is there when asked for again, or unloaded.

        Raises:
            AlreadyExistsError: it is held, from another order.
            InvalidInputError: the artifact or the options are not what the engine takes.
            ModelExecutionError: the engine failed; the message is the engine's.
        """
        name = str(order.instance)
        if (held := self._held.get(name)) is None:
            held = self._held[name] = Held(order, asyncio.ensure_future(self._make(order)))
        elif held.order != order:
            raise AlreadyExistsError(f"instance {name!r}: held already, loaded with {held.order.options}")
        return await asyncio.shield(held.loading)

    async def _make(self, order: LoadOrder) -> LoadedModel:
        name = str(order.instance)
        copies: list[Runtime] = []
        try:
            copies = await asyncio.to_thread(self._load_copies, order)
            observe = self._observe(order.instance) if self._observe else None
            model = LoadedModel(order.instance, order.worker, copies, order.options, observe)
        except Exception:
            await asyncio.to_thread(_give_back, copies)
            del self._held[name]
            raise
        log.info("model loaded", extra={"instance": name, "platform": model.platform, "copies": len(copies)})
        return model

    def _load_copies(self, order: LoadOrder) -> list[Runtime]:
        copies: list[Runtime] = []
        try:
            for _ in range(order.options.copies):
                copies.append(self._load(order.format, order.directory, order.options, self._cores))
                if order.options.max_batch_size > 0:
                    check_batching(copies[-1].signature)
                warm_up(copies[-1], order.options.warm_up_batch_sizes)
        except Exception as error:
            _give_back(copies)
            if isinstance(error, ModelyardError):
                raise
            log.exception("load failed", extra={"instance": str(order.instance)})
            raise ModelExecutionError(f"{type(error).__name__}: {error}") from error
        return copies

    def find(self, instance: str) -> LoadedModel:
        """Return an instance that answers calls.

        Raises:
            NotFoundError: this runner does not hold it, or not yet.
        """
        held = self._held.get(instance)
        if held is None or not held.loading.done():
            raise NotFoundError(f"instance {instance!r}: not in this runner")
        return held.loading.result()

    def loaded(self) -> list[LoadedModel]:
        """Those that answer calls."""
        return [h.loading.result() for h in self._held.values() if h.loading.done()]

    def states(self) -> dict[ModelVersion, bool]:
        """What is held, and whether it answers calls already."""
        return {h.order.instance: h.loading.done() for h in self._held.values()}

    async def unload(self, instance: str) -> None:
        """Finish the calls of an instance, then give its memory back; one that is being loaded is first loaded.

        Raises:
            NotFoundError: this runner does not hold it.
        """
        held = self._held.get(instance)
        if held is None:
            raise NotFoundError(f"instance {instance!r}: not in this runner")
        await asyncio.wait([held.loading])
        if self._held.get(instance) is not held:
            return  # it failed to load, or another call has unloaded it
        await _close(held.loading.result())
        if self._held.get(instance) is held:
            del self._held[instance]
            del held
            await asyncio.to_thread(runtimes.release)
            log.info("unloaded", extra={"instance": instance})

    async def close(self, within_s: float) -> bool:
        """Finish the calls of all instances; return whether that was done in time."""
        if not self._held:
            return True
        ends = [asyncio.ensure_future(self._end(held)) for held in self._held.values()]
        _, late = await asyncio.wait(ends, timeout=within_s)
        for end in late:
            end.cancel()
        return not late

    async def _end(self, held: Held) -> None:
        await asyncio.wait([held.loading])
        if not held.loading.exception():
            await _close(held.loading.result())


def _give_back(copies: Iterable[Runtime]) -> None:
    for copy in copies:
        try:
            copy.close()
        except Exception:
            log.exception("a copy of a model could not be closed")


async def _close(model: LoadedModel) -> None:
    """Close an instance once the front doors, which the agent has told, have gone elsewhere.

    One that was not reached does not hold it up for long: then the calls that it still sends are refused.
    """
    await model.streams.gone(LINGER_S)
    await model.close()
