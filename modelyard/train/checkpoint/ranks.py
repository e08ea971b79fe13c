"""What the ranks that save or load together tell each other: Python values, over their process group."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TypeVar

import torch.distributed as dist
from torch.distributed import ProcessGroup

T = TypeVar("T")


class Ranks:
    """The ranks of a group; without one, this process alone.

    What fails on one rank is raised on all that wait for it.
    """

    def __init__(self, group: ProcessGroup | None) -> None:
        self._group = group
        self.rank = 0 if group is None else dist.get_rank(group)
        self.world = 1 if group is None else dist.get_world_size(group)

    def from_first(self, make: Callable[[], T]) -> T:
        """Return on all ranks what `make` returns on rank 0."""
        (value,) = self._shared(make if self.rank == 0 else None)[:1]
        return value

    def gathered(self, make: Callable[[], T]) -> list[T]:
        """Return on all ranks what `make` returns on each, in their order."""
        return self._shared(make)

    def _shared(self, make: Callable[[], T] | None) -> list[T]:
        if self._group is None:
            return [make()] if make else []
        outcomes: list[tuple[T | None, Exception | None]] = [(None, None)] * self.world
        dist.all_gather_object(outcomes, _attempt(make), group=self._group)
        for _, error in outcomes:
            if error is not None:
                raise error
        return [value for value, _ in outcomes]  # type: ignore[misc]


def expect_no_group() -> None:
    """Have torch not warn of saving and loading without a group: it does so each time, and in threads of its own."""
    warnings.filterwarnings("ignore", "torch.distributed is disabled, unavailable or uninitialized", UserWarning)


def _attempt(make: Callable[[], T] | None) -> tuple[T | None, Exception | None]:
    """What it returns, or raises: the others hear of that before this rank goes down with it."""
    try:
        return (make() if make else None), None
    except Exception as error:
        return None, error
