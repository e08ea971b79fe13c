"""What the ranks that save or load together tell each other: Python values, over a group that can be lost."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Protocol, TypeVar

import torch

from modelyard.errors import InternalError
from modelyard.train.reduction import GroupLost

T = TypeVar("T")
Outcome = tuple[T | None, Exception | None]
Matter = tuple[int, int, int]
"""The number of a draft, after how many steps, and how often something was said of it."""


class Peers(Protocol):
    """The ranks of a group: modelyard.train.elastic.group.Group. Once it is lost nobody waits in it any more.

    Attributes:
        rank: of this process.
        world: how many there are.
    """

    rank: int
    world: int

    @property
    def lost(self) -> bool:
        """Whether it is."""
        ...

    def all_gather(self, values: torch.Tensor) -> list[torch.Tensor]:
        """Return what each rank has, by rank. Raises GroupLost."""
        ...

    def broadcast(self, tensor: torch.Tensor, source: int) -> None:
        """Write the tensor of one rank into those of the others. Raises GroupLost."""
        ...

    def lose(self, reason: str) -> None:
        """End all waiting, now and later."""
        ...


class Ranks:
    """The ranks that have a state together; without peers, this process alone.

    All of them call the same methods in the same order, each by one thread at a time. What fails on one rank is raised
    on all that wait for it. What comes of the others is as much to be trusted as the run's code.
    """

    def __init__(self, peers: Peers | None = None, agreed: Callable[[bool], bool] = lambda said: said) -> None:
        """`agreed`: returns what rank 0 says, on all ranks; of the thread that trains, whatever else is going on."""
        self._peers = peers
        self._at: Matter = (0, 0, 0)
        self.agreed = agreed
        self.rank = 0 if peers is None else peers.rank
        self.world = 1 if peers is None else peers.world

    @property
    def lost(self) -> bool:
        """Whether no more can come of what they do together."""
        return self._peers is not None and self._peers.lost

    def begin(self, number: int, step: int) -> None:
        """What follows is about that draft, of that step; the group is lost if another rank is at something else.

        That can be if one of them failed outside of what they do together: it must not take the others' answers for
        those to its own questions, and a checkpoint be made of parts of two steps.
        """
        self._at = (number, step, 0)

    def from_first(self, make: Callable[[], T]) -> T:
        """Return on all ranks what `make` returns on rank 0. Raises GroupLost, or what `make` raises."""
        (value,) = self._shared(make if self.rank == 0 else None)[:1]
        return value

    def gathered(self, make: Callable[[], T]) -> list[T]:
        """Return on all ranks what `make` returns on each, in their order. Raises as `from_first`."""
        return self._shared(make)

    def _shared(self, make: Callable[[], T] | None) -> list[T]:
        if self._peers is None:
            return [make()] if make else []
        number, step, times = self._at
        self._at = (number, step, times + 1)
        outcomes: list[Outcome[T]] = _exchanged(self._peers, self._at, _attempt(make) if make else b"")
        for _, error in outcomes:
            if error is not None:
                raise error
        return [value for value, _ in outcomes]  # type: ignore[misc]


def _exchanged(peers: Peers, at: Matter, said: bytes) -> list[Outcome[T]]:
    """What those have said that have something to say, by rank."""
    headers = [header.tolist() for header in peers.all_gather(torch.tensor([*at, len(said)]))]
    if any(other != [*at] for *other, _ in headers):
        reason = f"ranks save different checkpoints: they are at {[other for *other, _ in headers]!s:.100}"
        peers.lose(reason)
        raise GroupLost(reason)
    outcomes: list[Outcome[T]] = []
    for rank, (*_, size) in enumerate(headers):
        if size:
            content = bytearray(said) if rank == peers.rank else bytearray(size)
            peers.broadcast(torch.frombuffer(content, dtype=torch.uint8), rank)
            outcomes.append(pickle.loads(content))  # noqa: S301 (as the class says)
    return outcomes


def _attempt(make: Callable[[], T]) -> bytes:
    """What it returns, or raises: the others hear of that before this rank goes down with it."""
    try:
        return pickle.dumps((make(), None))
    except Exception as error:
        return pickle.dumps((None, _portable(error)))


def _portable(error: Exception) -> Exception:
    """The error, or one that says the same: not all can be sent."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 (made here)
    except Exception:
        return InternalError(f"{type(error).__name__}: {error}")
    return error
