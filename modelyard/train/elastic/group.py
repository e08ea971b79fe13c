"""A process group that can be dropped: whoever waits for one of its collectives goes on as soon as it is lost.

Gloo itself helps little: a killed peer is told to its neighbours only, a stopped one to nobody, and `abort()` does not
release who is blocked. So nobody waits for gloo here, but for a future that `lose` ends too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock, Thread
from typing import Any

import torch
import torch.distributed as dist
from torch.futures import Future

from modelyard.train.control.messages import Formation
from modelyard.train.elastic.pending import Pending, T
from modelyard.train.elastic.rendezvous import Timeouts, process_group
from modelyard.train.reduction import GroupLost


@dataclass(frozen=True)
class Seat:
    """A member's place in a formation.

    Attributes:
        formation: it.
        rank: from 0 on.
    """

    formation: Formation
    rank: int

    @classmethod
    def of(cls, formation: Formation, member: str) -> Seat:
        """The place of a member that is in the formation."""
        return cls(formation, formation.members.index(member))


class Group:
    """The process group of a formation, as one of its ranks has it. Lost once, it is lost for good.

    Collectives are started by one thread; any thread may `lose` it.

    Attributes:
        number: of the formation.
        rank: of this process.
        world: how many ranks there are.
        completed: how often what was waited for has come.
    """

    def __init__(self, seat: Seat, timeouts: Timeouts | None = None) -> None:
        self.number = seat.formation.number
        self.rank, self.world = seat.rank, len(seat.formation.members)
        self._seat = seat
        self._timeouts = timeouts or Timeouts()
        self._lock = Lock()
        self._pending: set[Pending[Any]] = set()
        self._reason: str | None = None
        self._process_group: dist.ProcessGroup | None = None
        self.completed = 0
        self._threads: list[Thread] = []

    @property
    def lost(self) -> bool:
        """Whether it is."""
        return self._reason is not None

    @property
    def waits(self) -> bool:
        """Whether it is for other ranks to bring this one further: a collective has begun, and not ended."""
        return bool(self._pending)

    @property
    def process_group(self) -> dist.ProcessGroup:
        """What torch takes for a group.

        Raises:
            GroupLost: it is lost.
        """
        self.check()
        assert self._process_group is not None, "expected a group that is connected"  # noqa: S101 (for mypy)
        return self._process_group

    def check(self) -> None:
        """See whether it is there.

        Raises:
            GroupLost: it is lost; why, as one line.
        """
        if self._reason is not None:
            raise GroupLost(self._reason)

    def lose(self, reason: str) -> None:
        """End all waiting, now and later. From any thread; the first reason counts."""
        with self._lock:
            if self._reason is not None:
                return
            self._reason = reason
            pending, self._pending = self._pending, set()
        for one in pending:
            one.settle()

    def connect(self) -> None:
        """Meet the other members, and connect to them.

        Raises:
            GroupLost: it was lost meanwhile, or could not be formed.
        """
        connected = self._expect(None)
        self._start(lambda: self._connect(connected))
        connected.future.wait()
        self.check()

    def _connect(self, connected: Pending[None]) -> None:
        try:  # in a thread of its own, as torch waits there for what may never come
            made = process_group(self._seat.formation, self._seat.rank, self._timeouts, lambda: self.lost)
            with self._lock:
                if self._reason is None:
                    self._process_group = made
        except (RuntimeError, GroupLost) as error:
            self.lose(f"formation {self.number} could not be formed: {first_line(error)}")
        finally:
            self._settle(connected)

    def drop(self) -> None:
        """Let go of the connections: peers that wait for this rank fail at once, if nothing is blocked in it."""
        self.lose("the group was dropped")
        with self._lock:
            dropped, self._process_group = [self._process_group], None
        # torch waits there for collectives that are blocked, until they time out: for minutes.
        self._start(dropped.clear)

    def gone(self, timeout_s: float) -> bool:
        """Wait until nothing of a group that was dropped is left; False: something still is.

        A process must not end in Python's way before: a thread that comes back from torch then would abort it. If
        something is left, a peer was stopped or cut off: `os._exit` is the way.
        """
        ends_s = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, ends_s - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _start(self, work: Callable[[], None]) -> None:
        thread = Thread(target=work, name=f"formation-{self.number}", daemon=True)
        self._threads.append(thread)
        thread.start()

    # Collectives.

    def all_reduce(self, tensor: torch.Tensor, result: T) -> Future[T]:
        """Begin to sum a tensor over the ranks, in place; the future has `result` when it is done, or the group lost.

        The caller must not use the tensor again if the group is lost: somebody may still write into it.
        """
        pending = self._expect(result)
        self._begin(pending, lambda group: group.allreduce([tensor]))  # what dist.all_reduce adds takes longer
        return pending.future

    def begin_sum(self, values: torch.Tensor) -> Callable[[], torch.Tensor]:
        """Begin to sum a tensor over the ranks; what is returned waits for it, and returns it.

        Raises:
            GroupLost: what is returned: it was lost.
        """
        summed = values.clone()
        pending = self.all_reduce(summed, result=summed)

        def complete() -> torch.Tensor:
            pending.wait()
            self.check()
            return summed

        return complete

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum of a tensor over the ranks.

        Raises:
            GroupLost: it was lost.
        """
        return self.begin_sum(values)()

    def all_gather(self, values: torch.Tensor) -> list[torch.Tensor]:
        """Return what each rank has, by rank; shapes are the same.

        Raises:
            GroupLost: it was lost.
        """
        gathered = [torch.empty_like(values) for _ in range(self.world)]
        self._complete(lambda group: dist.all_gather(gathered, values, group=group, async_op=True))
        return gathered

    def broadcast(self, tensor: torch.Tensor, source: int) -> None:
        """Write the tensor of one rank into those of the others, which must not be used if this raises.

        Raises:
            GroupLost: it was lost.
        """
        self._complete(lambda group: dist.broadcast(tensor, group=group, group_src=source, async_op=True))

    def _complete(self, begin: Callable[[dist.ProcessGroup], dist.Work | None]) -> None:
        pending = self._expect(None)
        self._begin(pending, begin)
        pending.future.wait()
        self.check()

    def _expect(self, value: T) -> Pending[T]:
        pending = Pending(value)
        with self._lock:
            if self._reason is None:
                self._pending.add(pending)
                return pending
        pending.settle()
        return pending

    def _begin(self, pending: Pending[T], begin: Callable[[dist.ProcessGroup], dist.Work | None]) -> None:
        group = self._process_group
        if self.lost or group is None:
            pending.settle()
            return
        try:
            work = begin(group)
            assert work is not None  # noqa: S101 (of a group that this rank is in)
            work.get_future().add_done_callback(lambda done: self._end(pending, done))
        except RuntimeError as error:
            self.lose(f"a collective failed: {first_line(error)}")

    def _end(self, pending: Pending[T], done: Future[object]) -> None:
        """A collective has ended: in one of torch's threads."""
        try:
            done.value()
        except RuntimeError as error:
            self.lose(f"a collective failed: {first_line(error)}")
        self._settle(pending)

    def _settle(self, pending: Pending[Any]) -> None:
        with self._lock:
            self._pending.discard(pending)
            self.completed += 1
        pending.settle()


def first_line(error: BaseException) -> str:
    """Return what an error says, as one line of bounded length."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
