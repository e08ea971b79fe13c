"""What the leader looks after jobs with, for as long as its term lasts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from modelyard.errors import AbortedError
from modelyard.etcd import Compare, Delete, Etcd, Put
from modelyard.jobs.found import Stored
from modelyard.queue import Caps, TaskQueue
from modelyard.session import Term
from modelyard_scheduler.jobs.outcomes import Source
from modelyard_scheduler.jobs.records import Records


class Store(Protocol):
    """Where bytes are kept: modelyard.rpc.storing.Storing."""

    async def store(self, content: bytes, size_bytes: int, *, tenant: str, upload: str) -> Stored:
        """Keep them for a day at least. UnavailableError, ExhaustedError."""
        ...


@dataclass(frozen=True)
class Backends:
    """What holds the state of jobs, whoever leads.

    Attributes:
        queue: their tasks.
        records: their records, in the same Redis.
        etcd: what is held and loaded for them.
        store: takes their outcomes.
        source: gives them back.
    """

    queue: TaskQueue
    records: Records
    etcd: Etcd
    store: Store
    source: Source


@dataclass(frozen=True)
class LeaderContext:
    """What one term looks after jobs with.

    Attributes:
        replica: whom tasks wake when they have ended.
        caps: of each tenant.
        clock: seconds since the epoch.
        elapsed: seconds since whenever, which no one sets: for what is done every so often.
        offset: of its epochs: see modelyard_scheduler.jobs.leader.epochs.
    """

    backends: Backends
    term: Term
    replica: str
    caps: Caps
    clock: Callable[[], float]
    elapsed: Callable[[], float]
    offset: int = 0

    @property
    def queue(self) -> TaskQueue:
        """Tasks of jobs."""
        return self.backends.queue

    @property
    def records(self) -> Records:
        """Records of jobs."""
        return self.backends.records

    @property
    def epoch(self) -> int:
        """What is written to Redis is written with: a later leader has a higher one."""
        return self.offset + self.term.epoch

    async def commit(self, *operations: Put | Delete, conditions: Sequence[Compare] = ()) -> bool:
        """Write to etcd for as long as the term lasts; return whether the conditions held.

        Raises:
            AbortedError: the term is over.
            UnavailableError: etcd is away.
        """
        if await self.backends.etcd.commit([self.term.fence, *conditions], operations):
            return True
        await self.check_leads()
        return False

    async def check_leads(self) -> None:
        """Raise AbortedError if the term is over by what etcd says, UnavailableError while it is away."""
        leader = await self.backends.etcd.get(self.term.fence.key)
        if leader is None or leader.create_revision != self.term.fence.revision:
            raise AbortedError(f"epoch {self.epoch}: another one leads")
