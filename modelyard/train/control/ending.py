"""How a job comes to its end: who is told so, who has parted, and when all have."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from modelyard.train.control.connection import Connection
from modelyard.train.control.group import Stage
from modelyard.train.control.members import Members
from modelyard.train.control.messages import Leave, Over, Stop

log = logging.getLogger(__name__)
END_S = 30.0
"""From the first member that has finished until those that have not are stopped."""
FINISHED = Stop("training has finished", save=False)


class Ending:
    """Of one job.

    If it is stopped with a checkpoint, those that train save it at the end of their step. Once nobody holds the group
    one of those with the latest state, the keeper, sees to it that this is saved; the others wait until it has, as
    another one of them is to do so if it dies before.

    Attributes:
        reached: set when the job has ended, and every member has finished or is gone.
        stopping: why, and whether with a checkpoint, since the job is stopped; None: it is not.
        keeper: the member that saves its state even if nobody trains; empty: there is none.
        tried: the step of the last state that a keeper could not save; -1: there was none.
    """

    def __init__(self, membership: Members, members: Mapping[str, Connection], saved: Callable[[], int]) -> None:
        """Begin with a job that goes on.

        Args:
            membership: who decides who trains.
            members: those that are connected, by name.
            saved: the step of the last checkpoint; -1: there is none.
        """
        self.reached = asyncio.Event()
        self.stopping: Stop | None = None
        self.keeper = ""
        self.tried = -1
        self._membership = membership
        self._members = members
        self._saved = saved
        self._finishing = self._had_keeper = False
        self._parted: set[str] = set()
        self._told: dict[str, Stop] = {}

    def stop(self, reason: str, *, save: bool = True) -> None:
        """Tell all members to end, now or when they come."""
        self._membership.over = True
        if self.stopping is None:
            self.stopping = Stop(reason, save)
            log.info("training is stopped", extra={"reason": reason})
            self._parted |= set(self._membership.group.those(Stage.LEFT, Stage.GONE))
            if save:
                self._choose(-1)  # rank 0, if all are at the same step: it need not be told later
            self._tell()
        self.look()

    def greet(self, connection: Connection, *, whole: bool) -> None:
        """Tell a member that has come how it stands; `whole`: it trains, and may see by itself that it has finished."""
        if self.stopping is None and self._membership.over and not whole:
            connection.send(FINISHED)
        self._tell()

    def lose(self, member: str, *, held: bool) -> None:
        """A member is gone; `held`: it was in the group, which the others can save nothing in without it."""
        self._told.pop(member, None)
        if member == self.keeper:
            self.keeper = ""
        if held and self.stopping is not None and self.stopping.save and max(self._steps().values(), default=-1) >= 0:
            for other in self._holders():
                self._members[other].send(Leave(self._membership.group.number, at_boundary=False))
        self._tell()

    def _steps(self) -> dict[str, int]:
        """The states of those that are there, by rank."""
        connected = self._membership.connected
        names = (*self._membership.group.stages, *self._members)
        return {name: connected[name].step for name in names if name in connected and name in self._members}

    def _holders(self) -> list[str]:
        """Who is there and in the group."""
        held = self._membership.group.those(Stage.FORMING, Stage.WHOLE)
        return [name for name in held if name in self._members and name not in self._parted]

    def _choose(self, than: int) -> None:
        """Have the first of those with the latest state be the keeper, if that is later than a step."""
        steps = self._steps()
        latest = max(steps.values(), default=-1)
        self.keeper = next((name for name, step in steps.items() if step == latest > than), "")
        self._had_keeper = self._had_keeper or bool(self.keeper)

    def _tell(self) -> None:
        """Tell each what it does not know: that it is to end, whether with its state saved, or once another's is."""
        stopping = self.stopping
        if stopping is None:
            return
        held = bool(self._holders())
        if stopping.save and not self.keeper and not held:
            self._choose(max(self._saved(), self.tried) if self._had_keeper else -1)
        save = stopping.save and (held or bool(self.keeper))
        for name, connection in list(self._members.items()):
            told = replace(stopping, save=save, keeps=name == self.keeper)
            if self._told.get(name) != told:
                self._told[name] = told
                connection.send(told)

    def finish(self) -> None:
        """A member has finished: those that are not in the group need not wait, the others soon follow."""
        if not self._finishing:
            self._finishing = True
            for member in self._membership.waiting:
                self._members[member].send(FINISHED)
            asyncio.get_running_loop().call_later(END_S, lambda: self.stop(FINISHED.reason, save=False))
        self.look()

    def part(self, member: str, formation: int) -> None:
        """A member does not hold that group any more; once the job is over it will not have another one."""
        if self._membership.over and formation == self._membership.group.number:
            self._parted.add(member)
        self._tell()

    @property
    def is_parted(self) -> bool:
        """Whether every member of the formation has said that it trains no more, and there is one."""
        group = self._membership.group
        return bool(group.number) and set(group.stages) <= self._parted

    def look(self) -> None:
        """See whether all have finished or are gone; who may have something to save, and has not come yet, is not."""
        if not self._membership.over or not all(connection.finished for connection in self._members.values()):
            return
        if awaited_s := self._awaited_s():
            asyncio.get_running_loop().call_later(awaited_s, self.look)
        else:
            self.reached.set()

    def _awaited_s(self) -> float:
        """So long those are waited for that are to save."""
        saves = self.stopping is not None and self.stopping.save and not self._parted
        return self._membership.awaited_s(time.monotonic()) if saves else 0.0

    def dismiss(self) -> None:
        """Tell those that have waited for it that the end is written down."""
        for connection in self._members.values():
            connection.send(Over())
