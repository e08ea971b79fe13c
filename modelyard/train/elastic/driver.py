"""The life of a rank: into a formation, healed, training, out of it, into the next, until nothing is left to do."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import closing

from modelyard.train.control.messages import Envelope, Finished, Formation, Saved
from modelyard.train.control.waiting import Waits
from modelyard.train.elastic.failures import failed, told
from modelyard.train.elastic.group import Group, Seat
from modelyard.train.elastic.healing import give, pass_over, take
from modelyard.train.elastic.host import Host
from modelyard.train.elastic.member import LOST_S, Member
from modelyard.train.elastic.orders import StoppedError
from modelyard.train.elastic.reduction import ElasticReduction, preload
from modelyard.train.elastic.rendezvous import Timeouts
from modelyard.train.elastic.reports import Reports
from modelyard.train.elastic.version import made_by_first
from modelyard.train.elastic.vote import Standing, vote
from modelyard.train.elastic.watch import Periodic, Watch, stalled
from modelyard.train.events import Listener
from modelyard.train.loop import Ending, Loop
from modelyard.train.reduction import GroupLost
from modelyard.train.step import Training
from modelyard.train.tally import Wish

log = logging.getLogger(__name__)
GONE_S = 5.0
"""How long the end of this rank waits for what is left of its groups."""
HEALING_S = 5.0
"""Between two words of a state that is on its way; the control process waits for a minute."""
_ENDS = {Ending.FINISHED, Ending.STOPPED_EARLY}


class Driver:
    """Drives a rank's loop from formation to formation."""

    def __init__(
        self,
        member: Member,
        training: Training,
        host: Host,
        listener: Listener | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        """Be run.

        Args:
            member: not started yet.
            training: with a new state, the same on all ranks.
            host: is asked for checkpoints, and what to do with what was trained.
            listener: is told what the loop tells.
            timeouts: of groups.
        """
        self._member = member
        self._training = training
        self._state = training.state
        self._host = host
        self._reports = Reports(member, listener or Listener())
        self._loop = Loop(training, self._reports)
        self._timeouts = timeouts or Timeouts()
        self._standing = Standing()
        self._groups: list[Group] = []
        self._trains: Group | None = None
        self._healed = 0
        self._waits = Waits()
        self._version = ""

    def run(self) -> Ending:
        """Train until there is nothing left to be done, and it is written down that it is so.

        The process should end by `os._exit` afterwards: groups with a peer that was stopped may still be blocked.

        Raises:
            StoppedError: the job ends before.
            RefusedError: it will not have this member.
            UnavailableError, ExhaustedError, OSError: something is away or full: the process may be started anew.
            ModelyardError: the run cannot go on, as is written down.
        """
        preload()
        self._member.start(self._step)
        watch = Watch(self._training.options.stall_s, self._activity)
        thread = threading.get_ident()
        try:
            with told(self._member), Periodic(watch.pause_s, lambda: self._look(watch, thread), "watch"):
                return self._train()
        except StoppedError as stopped:
            self._keep(stopped)
            raise
        finally:
            self._member.close()
            self._let_go()

    def _activity(self) -> object:
        """What this rank is at that none but itself can bring further; None: nothing."""
        group, training = self._trains, self._training
        if group is None or group.waits:
            return None
        reads = [samples.reads for samples in (training.train, training.validation) if samples is not None]
        return (group.number, *reads, *self._state.progress)

    def _look(self, watch: Watch, thread: int) -> None:
        if watch.stalls():
            error = stalled(f"step {self._state.position.step}", self._training.options.stall_s, thread)
            log.error("training stalls", extra={"reason": error.message})
            self._member.part(Envelope(failed=failed(error)))

    def _keep(self, stopped: StoppedError) -> None:
        """Have the state be saved: by this rank, if it is told to and has not; or by another, which may die before."""
        self._host.settle()
        step = self._step()
        if stopped.save and step >= 0 and self._reports.saved != step and self._member.keeps():
            self._host.enter(0, None)
            self._reports.save(self._state)
            self._host.settle()

    def _let_go(self) -> None:
        ends_s = time.monotonic() + GONE_S
        for group in self._groups:
            if not group.gone(max(0.0, ends_s - time.monotonic())):
                log.warning("a group is still blocked", extra={"formation": group.number})

    def _step(self) -> int:
        """How many steps this rank has applied; -1: it has no state that counts."""
        return self._state.position.step if self._standing.step >= 0 else -1

    def _train(self) -> Ending:
        while True:
            formation = self._member.next_formation()
            ending = self._take_part(formation)
            if ending in _ENDS:
                self._member.part(Envelope(finished=Finished(self._state.position, ending.value, self._version)))
                return ending

    def _take_part(self, formation: Formation) -> Ending | None:
        """Train in a formation; None: its group was lost."""
        group = Group(Seat.of(formation, self._member.name), self._timeouts)
        self._groups = [*(before for before in self._groups if not before.gone(0.0)), group]
        reason, ending = "", None
        self._host.enter(group.rank, formation.checkpoint)
        try:
            self._member.attend(group, LOST_S)
            group.connect()
            with Periodic(HEALING_S, lambda: self._tell_healing(group), "healing"):
                self._heal(group, formation.checkpoint)
            self._wait_for(Waits())
            self._member.formed()
            ending = self._run(group)
            if ending in _ENDS:
                self._version = self._concluded(group, ending)
        except GroupLost as lost:
            reason, ending = str(lost), None
        finally:
            group.drop()
        self._reports.end()
        if ending is None:
            log.info("the group was lost", extra={"formation": formation.number, "reason": reason})
            self._member.broken(reason)
        elif ending is Ending.LEFT:
            self._member.left()
        return ending

    def _run(self, group: Group) -> Ending:
        before = self._state.progress
        self._reports.begin(group.rank)
        self._trains = group
        try:
            with closing(ElasticReduction(group)) as reduction:
                return self._loop.run(reduction, self._wish)
        finally:
            self._trains = None
            if self._state.progress != before:
                self._standing = Standing(*self._state.progress, group.number)

    def _wish(self) -> Wish:
        return Wish(leave=self._member.leaving, save=self._member.saving or self._host.saves)

    def _concluded(self, group: Group, ending: Ending) -> str:
        """Return the version that rank 0 has made, on all ranks; they wait for it."""
        return made_by_first(group, lambda: self._host.conclude(ending))

    # Healing.

    def _heal(self, group: Group, checkpoint: Saved | None) -> None:
        """Return when all ranks have the latest state."""
        result = vote(group, self._standing)
        latest = result.latest
        resumes = checkpoint is not None and latest.step < checkpoint.position.step
        if group.rank == result.source and (resumes or latest.step < 0):
            self._begin(group.number, checkpoint if resumes else None)
        behind = group.rank in result.behind or resumes
        if not (result.behind or resumes):
            return
        if group.rank == result.source:
            give(group, self._state.state_dict())
        elif behind:
            self._become(take(group, result.source), latest if not resumes and latest.step >= 0 else None, group.number)
        else:
            pass_over(group, result.source)

    def _tell_healing(self, group: Group) -> None:
        """Say that it goes on, if something has come since this was asked last."""
        before, self._healed = self._healed, group.completed
        if group.completed != before:
            self._member.healing()

    def _begin(self, number: int, checkpoint: Saved | None) -> None:
        """Have the state that the run begins with."""
        self._standing = Standing()
        if checkpoint is not None:
            self._restore(checkpoint)
        self._standing = Standing(*self._state.progress, number)

    def _restore(self, checkpoint: Saved) -> None:
        try:
            with Periodic(HEALING_S, self._member.healing, "restoring"):
                self._host.restore(checkpoint)
        except GroupLost as lost:  # the next formation tries it again
            self._wait_for(Waits(str(lost), self._waits.since_s or time.time()))
            raise

    def _wait_for(self, waits: Waits) -> None:
        if waits != self._waits:
            self._waits = waits
            self._member.waits(waits)

    def _become(self, state: dict[str, object], standing: Standing | None, number: int) -> None:
        """Have another rank's state. While it is written there is none."""
        self._standing = Standing()
        self._state.load_state_dict(state)
        self._standing = standing or Standing(*self._state.progress, number)
