"""The attempts that are under way: begun and dropped as the agent orders."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count

from modelyard.rpc.registry import PATIENCE_S, BlockingSource, RegistrySource
from modelyard.rpc.storing import Storing
from modelyard.tasks import stop_on_failure
from modelyard_worker.jobs.assignment import Begin, Drop, Order, Registries, Report, Target
from modelyard_worker.jobs.reader.datasets import Datasets
from modelyard_worker.jobs.reader.execution import Execution, Means
from modelyard_worker.jobs.reader.instance import Instance


class Attempts:
    """Executes tasks, as many as there are at a time; `close` it in the end."""

    def __init__(self, report: Callable[[Report], None], patience_s: float = PATIENCE_S) -> None:
        """Begin with no registry.

        Args:
            report: is told how an attempt has ended, unless it was dropped.
            patience_s: how long a registry that is away is waited for.
        """
        self._report = report
        self._registries: tuple[str, ...] = ()
        self._source = RegistrySource(lambda: self._registries)
        self._storing = Storing(lambda: self._registries, patience_s)
        loop = asyncio.get_running_loop()
        self._datasets = Datasets(BlockingSource(self._source, loop, patience_s))
        self._instances: dict[Target, Instance] = {}
        self._under_way: dict[str, tuple[asyncio.Task[None], Target]] = {}
        self._orders = count()

    async def take(self, order: Order) -> None:
        """Do as the agent says; return at once."""
        match order.registries or order.begin or order.drop:
            case Registries(addresses):
                self._registries = addresses
            case Begin() as begin:
                await self._begin(begin)
            case Drop(token) if token in self._under_way:
                self._under_way[token][0].cancel()

    async def _begin(self, begin: Begin) -> None:
        await self._close_others(begin.target)
        if begin.target not in self._instances:
            self._instances[begin.target] = Instance(begin.target)
        means = Means(self._datasets, self._storing, self._instances[begin.target])
        working = asyncio.create_task(self._execute(Execution(begin, means, next(self._orders))))
        self._under_way[begin.token] = working, begin.target
        working.add_done_callback(lambda _: self._under_way.pop(begin.token))
        working.add_done_callback(stop_on_failure)

    async def _execute(self, execution: Execution) -> None:
        self._report(await execution.run())

    async def _close_others(self, target: Target) -> None:
        """Leave the streams that nothing is executed on any more."""
        used = {target, *(used for _, used in self._under_way.values())}
        for other in set(self._instances) - used:
            await self._instances.pop(other).close()

    async def close(self) -> None:
        """Drop all attempts, and close the connections."""
        tasks = [task for task, _ in self._under_way.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for instance in self._instances.values():
            await instance.close()
        await self._source.close()
        await self._storing.close()
