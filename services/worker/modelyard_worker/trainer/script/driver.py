"""A rank of a job that runs a script: in each formation it starts the script as torchrun would, and ends it with it."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Sequence
from typing import NoReturn

from modelyard import codec
from modelyard.errors import UnavailableError
from modelyard.jobs.training import Code
from modelyard.train.control.messages import Envelope, Finished, Formation
from modelyard.train.control.store import Store
from modelyard.train.control.waiting import Waits
from modelyard.train.elastic.driver import GONE_S
from modelyard.train.elastic.failures import told
from modelyard.train.elastic.group import Group, Seat
from modelyard.train.elastic.member import Member
from modelyard.train.elastic.orders import StoppedError
from modelyard.train.elastic.version import made_by_first
from modelyard.train.failure import RecipeError
from modelyard.train.loop import Ending
from modelyard.train.position import Position
from modelyard.train.reduction import GroupLost
from modelyard_worker.trainer.script.execution import (
    Course,
    HangingError,
    LeavingError,
    SavingError,
    Watch,
    agreed,
    execute,
)
from modelyard_worker.trainer.script.failure import MOST_REASON, MOST_TRACEBACK, failure
from modelyard_worker.trainer.script.keeping import ScriptKeeping
from modelyard_worker.trainer.script.listing import read
from modelyard_worker.trainer.script.outcome import Outcome
from modelyard_worker.trainer.script.places import Attempt, Place, places, variables
from modelyard_worker.trainer.script.process import LAST_S, ScriptProcess
from modelyard_worker.trainer.script.restarts import Restarts, Standing
from modelyard_worker.trainer.script.sharing import Sharing, gather
from modelyard_worker.trainer.script.stall import Stall
from modelyard_worker.trainer.script.terms import ScriptTerms

log = logging.getLogger(__name__)
RETRY_S = 5.0
"""Between two tries to read a checkpoint while no registry is there."""
WITHOUT_VERSION = "the script has left nothing in MODELYARD_OUTPUT: no version came of it"


class ScriptDriver:
    """Drives a script from formation to formation."""

    def __init__(self, member: Member, terms: ScriptTerms, outcome: Outcome, keeping: ScriptKeeping) -> None:
        """Be run.

        Args:
            member: not started yet.
            terms: what is run, and where.
            outcome: is asked for the version, of rank 0.
            keeping: its checkpoints.
        """
        self._member = member
        self._terms = terms
        self._outcome = outcome
        self._keeping = keeping
        self._restarts = Restarts(terms.device)
        self._is_member = False
        self._groups: list[Group] = []
        self._process: ScriptProcess | None = None
        self._terminates = False

    def run(self) -> Ending:
        """Run the script until it has ended well on all ranks, and say so to the control process; or be terminated.

        Raises:
            StoppedError: the job ends before.
            RefusedError: it will not have this member.
            UnavailableError, ExhaustedError, OSError: something is away or full: the process may be started anew.
            ModelyardError: the job cannot go on, as is written down.
        """
        self._member.start(self._step)
        try:
            with told(self._member):
                return self._take_turns()
        except StoppedError as stopped:
            self._keeping.settle()
            if stopped.save and self._step() >= 0 and self._member.keeps():
                self._keeping.save()
                self._keeping.settle()
            raise
        finally:
            self._member.close()
            for group in self._groups:
                group.gone(GONE_S / len(self._groups))

    def terminate(self) -> None:
        """Have the script end, as this process is to: return when it has, or after a while. For another thread."""
        if not self._groups:
            return
        self._terminates = True
        self._member.close()  # so that the others form anew without this one
        for group in self._groups:
            group.lose("this process is to end")
        if self._process is not None:
            self._process.wait(LAST_S)

    def _step(self) -> int:
        """Which checkpoint of the job what this rank has would be; -1: it has nothing."""
        return self._keeping.step + 1 if self._is_member else -1

    def _take_turns(self) -> Ending:
        while True:
            version = self._take_part(self._member.next_formation())
            if version is not None:
                reason = Ending.FINISHED.value if version else WITHOUT_VERSION
                self._member.part(Envelope(finished=Finished(Position(), reason, version)))
                return Ending.FINISHED
            if self._terminates:
                return Ending.LEFT

    def _take_part(self, formation: Formation) -> str | None:
        """Run in a formation; return the version that came of it, empty if none did; None: its group was lost."""
        group = Group(Seat.of(formation, self._member.name))
        self._groups = [*(before for before in self._groups if not before.gone(0.0)), group]
        self._keeping.enter(formation.checkpoint)
        try:
            self._member.attend(group)
            group.connect()
            self._is_member = True
            self._member.formed()
            return self._turn(formation, group)
        except LeavingError:
            group.drop()
            self._member.left()
        except GroupLost as lost:
            log.info("the scripts are ended", extra={"formation": formation.number, "reason": str(lost)})
            group.drop()
            self._member.broken(str(lost))
        finally:
            group.drop()
            self._member.waits(Waits())  # whatever it was: it ends with the formation
        return None

    def _turn(self, formation: Formation, group: Group) -> str:
        watch = Watch(group, self._member)
        own = self._restarts.enter(formation, read(self._terms.folder.record).number)
        standings = [codec.decode(Standing, data) for data in gather(group, codec.encode(own))]
        self._restarts.agree(standings)
        if self._restarts.count > self._terms.code.max_restarts:
            self._give_up(watch)
        located = places(formation.members, [standing.device for standing in standings])
        if group.rank == 0:
            self._resume(max(standing.number for standing in standings), watch)
        sharing = Sharing(group, self._terms.folder, located, self._terms.scratch, watch.check)
        sharing.share()
        if not self._restarts.done:
            try:
                self._execute(formation, watch, sharing, located[group.rank])
            except SavingError:
                self._share_last(group, located)
                raise
            sharing.share()  # so that any rank can publish what there is
            self._restarts.done = True
        return made_by_first(group, self._concluded)

    def _resume(self, number: int, watch: Watch) -> None:
        """Have the last checkpoint, if it is later than what workers have, of which that is the number of the latest.

        An artifact store that is away is waited for.
        """
        since_s = time.time()
        while self._keeping.restores(number):
            try:
                self._keeping.restore(number, watch.check)
            except UnavailableError as error:
                log.warning("the checkpoint cannot be read yet", extra={"reason": error.message})
                self._member.waits(Waits(f"its checkpoint is being read: {error.message}"[:MOST_REASON], since_s))
                watch.until(lambda: False, RETRY_S)
            else:
                self._member.waits(Waits())
                break

    def _share_last(self, group: Group, located: Sequence[Place]) -> None:
        """Have all workers have what scripts have left that were ended; what is saved then is of all of them."""
        try:
            Sharing(group, self._terms.folder, located, self._terms.scratch, group.check).share()
        except GroupLost as lost:
            log.info("what other workers have is not in the last checkpoint", extra={"reason": str(lost)})

    def _give_up(self, watch: Watch) -> None:
        """Rank 0 says why; the others wait to be stopped."""
        if watch.group.rank:
            watch.until(lambda: False)
        last, restarts = self._restarts.last, self._terms.code.max_restarts
        reason = last.reason if last else "a script has failed"
        raise RecipeError(f"{reason} (restarts: {restarts})", last.traceback if last else "")

    def _execute(self, formation: Formation, watch: Watch, sharing: Sharing, place: Place) -> None:
        """Return when the scripts of all ranks have ended well; GroupLost, LeavingError: they are ended."""
        leads = watch.group.rank == 0
        store = Store(formation.addresses[0]) if leads else None
        (port,) = agreed(watch.group, [store.port if store else 0])
        errors = self._terms.scratch / f"error-{formation.number}.json"
        attempt = Attempt(self._terms.job, (formation.addresses[0], port), self._restarts.count, errors)
        environ = {**os.environ, **self._terms.environ}
        told = variables(place, attempt, self._terms.code.max_restarts, environ)
        log.info("the script is started", extra={"formation": formation.number, "rank": place.rank})
        process = ScriptProcess(command(self._terms.code), told, self._terms.folder.code)
        self._process = process
        try:
            status = execute(process, watch, sharing, self._course(process))
        except HangingError as hanging:
            self._hang(watch, hanging.stack)
        if status:
            name = f"{self._terms.code.entry}: rank {place.rank} of {place.world}"
            found = failure(name, status, errors, process.tail, time.time(), self._terms.folder.code)
            self._restarts.fail(formation, found)
            raise GroupLost(found.reason)

    def _course(self, process: ScriptProcess) -> Course:
        limit_s = self._terms.stall_s
        if not limit_s:
            return Course(self._keeping)
        return Course(self._keeping, Stall(limit_s, process, self._terms.folder.shared).look)

    def _hang(self, watch: Watch, stack: str) -> NoReturn:
        """Rank 0 says where all ranks were; the others wait to be stopped."""
        stacks = gather(watch.group, stack[-MOST_TRACEBACK // watch.group.world :].encode())
        if watch.group.rank:
            watch.until(lambda: False)
        said = (f"rank {rank}:\n{found.decode(errors='replace')}" for rank, found in enumerate(stacks) if found)
        entry, limit_s = self._terms.code.entry, self._terms.stall_s
        reason = f"{entry}: for {limit_s:g} s no rank printed, changed a file, or computed: it hangs"
        raise RecipeError(reason, "\n".join(said))

    def _concluded(self) -> str:
        """Return the version; of what it is made there is a checkpoint before."""
        self._keeping.save()
        self._keeping.settle()
        return self._outcome.publish()


def command(code: Code) -> Sequence[str]:
    """Return the command line of a script: as torchrun's, unbuffered. A parameter without a value is a flag."""
    flags = (f"--{name}={value}" if value else f"--{name}" for name, value in code.parameters)
    return (sys.executable, "-u", code.entry, *flags)
