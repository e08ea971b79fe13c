"""The life of a rank of a model that several ranks share: one formation, in which it trains until that ends.

Nothing of a step that was broken off can be taken back. So the process ends with its formation, is started anew, and
goes on from the last checkpoint in the next one, with as many replicas as there are then.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from modelyard.jobs.training import Parallelism
from modelyard.train.checkpoint.ranks import Ranks
from modelyard.train.control.messages import Envelope, Finished, Formation
from modelyard.train.dataset import Dataset
from modelyard.train.elastic.failures import failed, told
from modelyard.train.elastic.group import Seat, first_line
from modelyard.train.elastic.host import Host
from modelyard.train.elastic.member import Member
from modelyard.train.elastic.orders import RestartError
from modelyard.train.elastic.rendezvous import Timeouts
from modelyard.train.elastic.reports import Reports
from modelyard.train.elastic.version import made_by_first
from modelyard.train.elastic.watch import BEFORE, Periodic, Watch, is_reading, stalled
from modelyard.train.events import Listener
from modelyard.train.local import training_of
from modelyard.train.loop import Ending, Loop
from modelyard.train.options import TrainingOptions
from modelyard.train.parallel.evaluation import ParallelEvaluation
from modelyard.train.parallel.formation import ToldGroup, join, of_group
from modelyard.train.parallel.reduction import GridReduction
from modelyard.train.parallel.state import PartialState
from modelyard.train.parallel.step import ParallelStep
from modelyard.train.recipe import Recipe
from modelyard.train.reduction import GroupLost
from modelyard.train.step import Training
from modelyard.train.tally import Wish

log = logging.getLogger(__name__)
FORMING_S = 5.0
"""Between two words of a rank that is about to train; the control process waits for a minute."""
PATIENCE_S = 24 * 3600.0
"""How long ranks wait for the parts of a checkpoint that others store, or for what rank 0 makes of the end."""
_ENDS = {Ending.FINISHED, Ending.STOPPED_EARLY}
_TORCH = str(Path(str(torch.__file__)).parent) + "/"


@dataclass(frozen=True)
class Plan:
    """What is trained, and how its ranks share it.

    Attributes:
        validation: None: there are no such data.
        device: of torch: "cpu" or "cuda:0" and so on.
        interface: of the network, by which other ranks reach this one; empty: torch's choice.
    """

    recipe: Recipe
    train: Dataset
    validation: Dataset | None
    options: TrainingOptions
    parallelism: Parallelism
    device: str = "cpu"
    interface: str = ""


class ReplicaDriver:
    """Drives a rank through the one formation that it is in."""

    def __init__(
        self,
        member: Member,
        plan: Plan,
        host: Callable[[Training], Host],
        listener: Listener | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        """Be run.

        Args:
            member: not started yet.
            plan: what is done.
            host: returns who is asked for checkpoints, and what to do with what was trained. Of what is asked for its
                checkpoints the state is a PartialState; the one that concludes has all weights.
            listener: is told what the loop tells; each rank's saves a PartialState.
            timeouts: of groups; None: what waits in them waits until the group is lost.
        """
        self._member = member
        self._plan = plan
        self._new_host = host
        self._listener = listener or Listener()
        self._timeouts = timeouts or Timeouts(collective=PATIENCE_S)
        self._host = Host()
        self._state: PartialState | None = None
        self._version = ""
        self._outcome: Future[Ending] = Future()
        self._trains: Training | None = None
        self._makes = False
        self._thread = threading.Thread()

    def run(self) -> Ending:
        """Train until there is nothing left to be done, and it is written down that it is so.

        The process must end by `os._exit` afterwards, whatever comes of it: threads may be blocked in torch.

        Raises:
            RestartError: the formation has ended before; the control process knows.
            StoppedError: the job ends before.
            RefusedError: it will not have this member.
            UnavailableError, ExhaustedError, OSError: something is away or full: the process may be started anew.
            ModelyardError: the run cannot go on, as is written down.
        """
        self._member.start(lambda: -1)  # this process alone has no state
        try:
            with told(self._member):
                return self._take_part(self._member.next_formation())
        finally:
            self._member.close()

    def _take_part(self, formation: Formation) -> Ending:
        seat = Seat.of(formation, self._member.name)
        group = ToldGroup(seat, self._timeouts, self._lost)
        self._member.attend(group)
        self._thread = threading.Thread(target=self._work, args=(group, seat), name="replica", daemon=True)
        self._thread.start()
        watch = Watch(self._plan.options.stall_s, self._activity)
        try:
            with Periodic(watch.pause_s, lambda: self._look(watch), "watch"):
                ending = self._outcome.result()
        except GroupLost as lost:
            ending, reason = Ending.LEFT, first_line(lost)
            log.info("the group was lost", extra={"formation": formation.number, "reason": reason})
        else:
            reason = ""
        if ending in _ENDS:
            assert self._state is not None  # noqa: S101 (it has trained)
            self._member.part(Envelope(finished=Finished(self._state.position, ending.value, self._version)))
            return ending
        self._host.settle()  # what it has saved is what the next formation goes on from
        if reason:
            self._member.broken(reason)
        else:
            self._member.left()
        self._member.check()
        raise RestartError(reason or "left, at the end of a step")

    def _activity(self) -> object:
        """What this rank is at that none but itself can bring further; None: nothing. It waits for others in torch."""
        training, thread = self._trains, self._thread.ident or 0
        frame = sys._current_frames().get(thread)
        if frame is None or frame.f_code.co_filename.startswith(_TORCH):
            return None
        if training is None:
            reads = getattr(self._plan.train, "reads", 0)
            return (BEFORE, reads) if self._makes and not is_reading(thread) else None
        reads = [samples.reads for samples in (training.train, training.validation) if samples is not None]
        return (*reads, *training.state.progress)

    def _look(self, watch: Watch) -> None:
        training = self._trains
        if watch.stalls():
            where = f"step {training.state.position.step}" if training else BEFORE
            error = stalled(where, self._plan.options.stall_s, self._thread.ident or 0)
            log.error("training stalls", extra={"reason": error.message})
            self._member.part(Envelope(failed=failed(error)))

    def _lost(self, reason: str) -> None:
        """The formation has ended, whatever this rank's thread is waiting for."""
        with contextlib.suppress(InvalidStateError):
            self._outcome.set_exception(GroupLost(reason))

    def _work(self, group: ToldGroup, seat: Seat) -> None:
        """Train, in a thread that may be left behind blocked."""
        try:
            ending = self._train(group, seat)
        except BaseException as error:  # also `sys.exit()`, which would end this thread without a word
            told = GroupLost(first_line(error)) if of_group(error) else error
            with contextlib.suppress(InvalidStateError):
                self._outcome.set_exception(told)
        else:
            with contextlib.suppress(InvalidStateError):
                self._outcome.set_result(ending)

    def _train(self, group: ToldGroup, seat: Seat) -> Ending:
        with Periodic(FORMING_S, self._member.healing, "forming"):
            training, state = self._begin(group, seat)
        reports = Reports(self._member, self._listener)
        loop = Loop(
            training,
            reports,
            lambda told, _: ParallelStep(told, state.placement),
            lambda told, samples, _: ParallelEvaluation(told, state.placement, samples),
        )
        self._member.formed()
        reports.begin(group.rank)
        self._trains = training
        try:
            ending = loop.run(GridReduction(state.placement.grid), self._wish)
        finally:
            self._trains = None
            reports.end()
        if ending in _ENDS:
            self._version = self._concluded(group, training, state, ending)
        return ending

    def _begin(self, group: ToldGroup, seat: Seat) -> tuple[Training, PartialState]:
        """Return what this rank has of the state that the formation goes on from."""
        plan = self._plan
        group.connect()
        grid = join(seat, plan.parallelism, plan.device, plan.interface)
        self._makes = True
        state = PartialState.cut(plan.recipe, plan.train, plan.options, grid, plan.device)
        training = training_of(state, plan.recipe, plan.train, plan.validation, plan.options)
        self._makes = False
        self._state, self._host = state, self._new_host(training)
        self._host.enter(group.rank, seat.formation.checkpoint)
        self._host.share(Ranks(group, GridReduction(grid).said_by_first))
        if seat.formation.checkpoint is not None:
            self._host.restore(seat.formation.checkpoint)
        return training, state

    def _wish(self) -> Wish:
        leaving = self._member.leaving
        return Wish(leave=leaving, save=leaving or self._host.saves)  # what is not saved is done again

    def _concluded(self, group: ToldGroup, training: Training, state: PartialState, ending: Ending) -> str:
        """Return the version that rank 0 has made of all weights, on all ranks; they wait for it."""
        self._host.complete()
        whole = state.whole(training.recipe)

        def make() -> str:
            assert whole is not None  # noqa: S101 (this is rank 0)
            return self._new_host(replace(training, state=whole)).conclude(ending)

        return made_by_first(group, make)
