"""A rank of a job that runs a script: in each formation it starts the script as torchrun would, and ends it with it."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Sequence

from modelyard import codec
from modelyard.jobs.training import Code
from modelyard.train.control.messages import Envelope, Finished, Formation
from modelyard.train.control.store import Store
from modelyard.train.elastic.driver import GONE_S
from modelyard.train.elastic.failures import told
from modelyard.train.elastic.group import Group, Seat
from modelyard.train.elastic.member import Member
from modelyard.train.elastic.version import made_by_first
from modelyard.train.failure import RecipeError
from modelyard.train.loop import Ending
from modelyard.train.position import Position
from modelyard.train.reduction import GroupLost
from modelyard_worker.trainer.script.execution import LeavingError, Watch, agreed, execute
from modelyard_worker.trainer.script.failure import failure
from modelyard_worker.trainer.script.outcome import Outcome
from modelyard_worker.trainer.script.places import Attempt, Place, places, variables
from modelyard_worker.trainer.script.process import LAST_S, ScriptProcess
from modelyard_worker.trainer.script.restarts import Restarts, Standing
from modelyard_worker.trainer.script.sharing import Sharing, gather
from modelyard_worker.trainer.script.terms import ScriptTerms

log = logging.getLogger(__name__)
WITHOUT_VERSION = "the script has left nothing in MODELYARD_OUTPUT: no version came of it"


class ScriptDriver:
    """Drives a script from formation to formation."""

    def __init__(self, member: Member, terms: ScriptTerms, outcome: Outcome) -> None:
        """Be run.

        Args:
            member: not started yet.
            terms: what is run, and where.
            outcome: is asked for the version, of rank 0.
        """
        self._member = member
        self._terms = terms
        self._outcome = outcome
        self._restarts = Restarts(terms.device)
        self._step = -1
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
        self._member.start(lambda: self._step)
        try:
            with told(self._member):
                return self._take_turns()
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
        try:
            self._member.attend(group)
            group.connect()
            self._step = 0
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
        return None

    def _turn(self, formation: Formation, group: Group) -> str:
        watch = Watch(group, self._member)
        own = self._restarts.enter(formation)
        standings = [codec.decode(Standing, data) for data in gather(group, codec.encode(own))]
        self._restarts.agree(standings)
        if self._restarts.count > self._terms.code.max_restarts:
            self._give_up(watch)
        located = places(formation.members, [standing.device for standing in standings])
        sharing = Sharing(group, self._terms.folder, located, self._terms.scratch, watch.check)
        sharing.share()
        if not self._restarts.done:
            self._execute(formation, watch, sharing, located[group.rank])
            sharing.share()  # so that any rank can publish what there is
            self._restarts.done = True
        return self._concluded(group)

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
        status = execute(process, watch, sharing)
        if status:
            name = f"{self._terms.code.entry}: rank {place.rank} of {place.world}"
            found = failure(name, status, errors, process.tail, time.time())
            self._restarts.fail(formation, found)
            raise GroupLost(found.reason)

    def _concluded(self, group: Group) -> str:
        """Return the version that rank 0 has published, on all ranks; they wait for it."""
        return made_by_first(group, self._outcome.publish)


def command(code: Code) -> Sequence[str]:
    """Return the command line of a script: as torchrun's, unbuffered. A parameter without a value is a flag."""
    flags = (f"--{name}={value}" if value else f"--{name}" for name, value in code.parameters)
    return (sys.executable, "-u", code.entry, *flags)
