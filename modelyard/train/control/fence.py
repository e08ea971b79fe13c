"""Who trains in a job, as etcd has it: written only by the one control process that owns the job's key there.

key                        value                                       lease
training/{job}/control     deployment.Member: the control process      its own
training/{job}/formation   Record: the formation of the highest        no
                           number, which was told to members, or not

A formation is told to nobody before it is written here, and each is written in one transaction that compares the create
revision of the first key and the mod revision of the second: of two control processes one at most can form.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from modelyard import codec, keys
from modelyard.errors import PreconditionError
from modelyard.etcd import Compare, Etcd, Put
from modelyard.session import Term
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


class Fence:
    """The record of one job, in a term of one control process."""

    def __init__(self, etcd: Etcd, job: str, term: Term) -> None:
        """`term`: of the key `keys.training_control(job)`."""
        self._etcd = etcd
        self._control = keys.training_control(job)
        self._key = keys.training_formation(job)
        self._term = term
        self._revision = 0
        self.last = Record()
        """As etcd had it when it was last read or written."""

    async def read(self) -> Record:
        """Return what is there.

        Raises:
            UnavailableError: etcd does not answer.
            PreconditionError: it is not understood: of a later release, perhaps.
        """
        found = await self._etcd.get(self._key)
        try:
            self.last = codec.decode(Record, found.value) if found else Record()
        except codec.MalformedError as error:
            raise PreconditionError(f"expected a formation at {self._key}: {error}") from error
        self._revision = found.mod_revision if found else 0
        return self.last

    async def write(self, record: Record) -> bool:
        """Write a record if it is later than what is there: of a higher number, or of the same with a later checkpoint.

        `last` is what is there then.

        Returns:
            Whether it is written. If not, an earlier write came through whose answer was lost.

        Raises:
            UnavailableError: etcd does not answer; it may be written, or not.
            DeposedError: this control process may not form any more.
        """
        if _age(record.formation) <= _age(self.last.formation):
            return False
        conditions = [self._term.fence, Compare(self._key, self._revision, "mod")]
        revision = await self._etcd.commit(conditions, [Put(self._key, codec.encode(record))])
        if revision:
            self._revision, self.last = revision, record
            return True
        owner = await self._etcd.get(self._control)
        if owner is None or owner.create_revision != self._term.epoch:
            raise DeposedError(f"{self._control} is {'nobody' if owner is None else 'another process'}'s")
        await self.read()
        return False

    async def note(self, number: int, saved: Saved | None) -> None:
        """Write down the last checkpoint of a formation if it is the latest one; raises what `write` does."""
        formation = replace(self.last.formation, checkpoint=saved)
        if formation != self.last.formation and formation.number == number:
            await self.write(replace(self.last, formation=formation))


def _age(formation: Formation) -> tuple[int, int]:
    """Of two formations the later has the higher number, or of the same the later checkpoint."""
    return formation.number, formation.checkpoint.position.step if formation.checkpoint else -1
