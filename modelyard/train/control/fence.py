"""Who trains in a job, as etcd has it: written only by the one control process that owns the job's key there.

key                        value                                       lease
training/{job}/control     deployment.Member: the control process      its own
training/{job}/formation   Record: the formation of the highest        no
                           number, which was told to members, or not

A formation is told to nobody before it is written here, and each is written in one transaction that compares the create
revision of the first key and the mod revision of the second: of two control processes one at most can form. It compares
that of the job's charter, too: once the job is forgotten nothing is written any more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from modelyard import codec, keys
from modelyard.deployment import Member
from modelyard.errors import PreconditionError
from modelyard.etcd import Compare, Delete, Etcd, Put
from modelyard.session import Term
from modelyard.train.control.group import worker_of
from modelyard.train.control.messages import Formation, Saved

NONE = Formation(0, (), (), "")
"""Of a job that nobody has trained in."""


class DeposedError(Exception):
    """The job's key is not this control process's any more: another one has taken its place, or will."""


@dataclass(frozen=True)
class Record:
    """What is written.

    Attributes:
        formation: the latest one.
        agreement: of its members.
    """

    formation: Formation = NONE
    agreement: str = ""


async def bury(etcd: Etcd, job: str, successor: str) -> None:
    """Take the job's key from a process that the worker of this one had before: it has ended, its lease has not.

    If it has not, after all, it writes nothing any more: what it compares is gone.

    Args:
        etcd: where the key is.
        job: whose.
        successor: the name of the control process that wants the key.

    Raises:
        UnavailableError: etcd does not answer.
    """
    key, worker = keys.training_control(job), worker_of(successor)
    found = await etcd.get(key)
    owner = codec.understood(lambda data: codec.decode(Member, data), key, found.value) if found else None
    if found and owner and worker and worker_of(owner.id) == worker and owner.id != successor:
        await etcd.commit([Compare(key, found.create_revision)], [Delete(key)])


class Fence:
    """The record of one job, in a term of one control process."""

    def __init__(self, etcd: Etcd, job: str, term: Term) -> None:
        """`term`: of the key `keys.training_control(job)`."""
        self._etcd = etcd
        self._control = keys.training_control(job)
        self._charter = keys.training_charter(job)
        self._key = keys.training_formation(job)
        self._term = term
        self._revision = 0
        self._chartered = 0
        self.last = Record()
        """As etcd had it when it was last read or written."""

    @property
    def conditions(self) -> list[Compare]:
        """What must hold of whatever this control process writes, since `read`."""
        return [self._term.fence, Compare(self._charter, self._chartered)]

    async def read(self) -> Record:
        """Return what is there.

        Raises:
            UnavailableError: etcd does not answer.
            PreconditionError: it is not understood: of a later release, perhaps.
        """
        if not self._chartered and (charter := await self._etcd.get(self._charter)):
            self._chartered = charter.create_revision
        found = await self._etcd.get(self._key)
        try:
            self.last = codec.decode(Record, found.value) if found else Record()
        except codec.MalformedError as error:
            raise PreconditionError(f"expected a formation at {self._key}: {error}") from error
        self._revision = found.mod_revision if found else 0
        return self.last

    async def write(self, record: Record) -> bool:
        """Write a record if its formation has a higher number than what is there. `last` is what is there then.

        Returns:
            Whether it is written. If not, an earlier write came through whose answer was lost.

        Raises:
            UnavailableError: etcd does not answer; it may be written, or not.
            DeposedError: this control process may not form any more.
        """
        if record.formation.number <= self.last.formation.number:
            return False
        return await self._commit(record)

    async def _commit(self, record: Record) -> bool:
        conditions = [*self.conditions, Compare(self._key, self._revision, "mod")]
        revision = await self._etcd.commit(conditions, [Put(self._key, codec.encode(record))])
        if revision:
            self._revision, self.last = revision, record
            return True
        owner = await self._etcd.get(self._control)
        if owner is None or owner.create_revision != self._term.epoch:
            raise DeposedError(f"{self._control} is {'nobody' if owner is None else 'another process'}'s")
        charter = await self._etcd.get(self._charter)
        if (charter.create_revision if charter else 0) != self._chartered:
            raise DeposedError(f"{self._charter} is gone: the job is over")
        await self.read()
        return False

    async def note(self, saved: Saved | None) -> bool:
        """Write down the last checkpoint.

        Returns:
            Whether it is there.

        Raises:
            UnavailableError, DeposedError: as `write`.
        """
        formation = replace(self.last.formation, checkpoint=saved)
        if saved is None or formation == self.last.formation:
            return True
        return await self._commit(replace(self.last, formation=formation))
