"""Groups of ranks that are threads of one process, on a real store and real connections."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from torch.distributed import TCPStore  # type: ignore[attr-defined]
from torch.nn.parallel import DistributedDataParallel

from modelyard.train.control.messages import Formation
from modelyard.train.elastic.group import Group, Seat

T = TypeVar("T")
HOST = "127.0.0.1"


class Ranks:
    """The store of formations, and threads for their ranks."""

    def __init__(self) -> None:
        self._store = TCPStore(HOST, 0, is_master=True, wait_for_workers=False)
        self._threads = ThreadPoolExecutor(8)
        self._numbers = 0

    def formation(self, world: int) -> Formation:
        self._numbers += 1
        names = tuple(f"m{rank}" for rank in range(world))
        return Formation(self._numbers, names, (HOST,) * world, f"{HOST}:{self._store.port}")

    def groups(self, world: int) -> list[Group]:
        """A group as each of its ranks has it, connected."""
        formation = self.formation(world)
        groups = [Group(Seat(formation, rank)) for rank in range(world)]
        self.all(groups, Group.connect)
        return groups

    def begin(self, call: Callable[[], T]) -> Future[T]:
        return self._threads.submit(call)

    def all(self, groups: list[Group], call: Callable[[Group], T]) -> list[T]:
        """What a call returns on each rank, all of them at a time."""
        return [done.result(30) for done in [self._threads.submit(call, group) for group in groups]]

    def close(self) -> None:
        self._threads.shutdown()
        # Of a process: two threads that leave their passes in another order than they came restore each other's, and
        # torch.cond takes what is left for a pass under way.
        DistributedDataParallel._active_ddp_module = None
