"""How a job comes to its end: who is told so, who has parted, and when all have."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace

from modelyard.train.control.connection import Connection
from modelyard.train.control.group import Stage
from modelyard.train.control.members import Members
from modelyard.train.control.messages import Over, Stop

log = logging.getLogger(__name__)
END_S = 30.0
"""From the first member that has finished until those that have not are stopped."""
FINISHED = Stop("training has finished", save=False)


class Ending:
    """Of one job.

    Attributes:
        reached: set when the job has ended, and every member has finished or is gone.
        stopping: what members are told since it is stopped; None: it is not.
        keeper: the member that saves its state even if nobody trains; empty: there is none.
    """

    def __init__(self, membership: Members, members: Mapping[str, Connection]) -> None:
        """`members`: those that are connected, by name."""
        self.reached = asyncio.Event()
        self.stopping: Stop | None = None
        self.keeper = ""
        self._membership = membership
        self._members = members
        self._finishing = False
        self._parted: set[str] = set()

    def stop(self, reason: str, *, save: bool = True) -> None:
        """Tell all members to end, now or when they come."""
        self._membership.over = True
        if self.stopping is None:
            self.stopping = Stop(reason, save)
            log.info("training is stopped", extra={"reason": reason})
            self._parted |= set(self._membership.group.those(Stage.LEFT, Stage.GONE))
            self._choose(*self._membership.group.stages, *self._members)
            for connection in list(self._members.values()):
                self._tell(connection)
        self.look()

    def greet(self, connection: Connection, *, whole: bool) -> None:
        """Tell a member that has come how it stands; `whole`: it trains, and may see by itself that it has finished."""
        if self.stopping is not None:
            self._choose(connection.name)
            self._tell(connection)
        elif self._membership.over and not whole:
            connection.send(FINISHED)

    def _choose(self, *members: str) -> None:
        """Have the first of these that is as far as any be the keeper, if there is none and one is wanted."""
        if self.keeper or not (self.stopping and self.stopping.save):
            return
        connected = self._membership.connected
        steps = {name: connected[name].step for name in members if name in connected}
        latest = max(steps.values(), default=-1)
        self.keeper = next((name for name, step in steps.items() if step == latest >= 0), "")

    def _tell(self, connection: Connection) -> None:
        assert self.stopping is not None  # noqa: S101 (who calls this has looked)
        connection.send(replace(self.stopping, keeps=connection.name == self.keeper))

    def finish(self) -> None:
        """A member has finished: those that are not in the group need not wait, the others soon follow."""
        if not self._finishing:
            self._finishing = True
            for member in self._membership.waiting:
                self._members[member].send(FINISHED)
            asyncio.get_running_loop().call_later(END_S, lambda: self.stop(FINISHED.reason, save=False))
        self.look()

    def part(self, member: str) -> None:
        """A member holds no group; once the job is over it will not have another one."""
        if self._membership.over:
            self._parted.add(member)

    @property
    def is_parted(self) -> bool:
        """Whether every member of the formation has said that it trains no more, and there is one."""
        group = self._membership.group
        return bool(group.number) and set(group.stages) <= self._parted

    def look(self) -> None:
        """See whether all have finished or are gone."""
        if self._membership.over and all(connection.finished for connection in self._members.values()):
            self.reached.set()

    def dismiss(self) -> None:
        """Tell those that have waited for it that the end is written down."""
        for connection in self._members.values():
            connection.send(Over())
