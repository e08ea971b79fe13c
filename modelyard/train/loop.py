"""Steps and evaluations until the end, in one group after the other."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Protocol

import torch

from modelyard.errors import InternalError
from modelyard.train.course import EpochRecord
from modelyard.train.evaluation import Evaluation
from modelyard.train.events import Listener, StepCommitted
from modelyard.train.failure import of_recipe
from modelyard.train.reduction import Reduction
from modelyard.train.samples import Samples
from modelyard.train.step import NO_WISH, Outcome, Step, Training
from modelyard.train.tally import Wish


class Ending(StrEnum):
    """Why the loop has returned."""

    FINISHED = "FINISHED"
    STOPPED_EARLY = "STOPPED_EARLY"
    LEFT = "LEFT"


class Stepping(Protocol):
    """Does steps in one group."""

    def run(self, wish: Wish) -> Outcome:
        """Do the next step; see Step."""
        ...


class Evaluating(Protocol):
    """Evaluates in one group."""

    def run(self, step: int) -> dict[str, float]:
        """Return the means over all samples; see Evaluation."""
        ...


def _evaluation(training: Training, samples: Samples, reduction: Reduction) -> Evaluating:
    return Evaluation(training.computation(), samples, training.options, reduction)


class Loop:
    """The loop of one rank. Everything that it must know to go on is in the state, or is found out on entry.

    So whoever drives it enters it again with the next group, after a GroupLost or a wish to leave, once all members
    have the latest of their states (`TrainingState.progress`).
    """

    def __init__(
        self,
        training: Training,
        listener: Listener | None = None,
        step: Callable[[Training, Reduction], Stepping] = Step,
        evaluation: Callable[[Training, Samples, Reduction], Evaluating] = _evaluation,
    ) -> None:
        """Take what is trained, who is told, and what does the steps and evaluates in a group."""
        self._new_step = step
        self._new_evaluation = evaluation
        self._training = training
        self._state = training.state
        self._listener = listener or Listener()
        self._untold: Outcome | None = None

    def run(self, reduction: Reduction, wish: Callable[[], Wish] = lambda: NO_WISH) -> Ending:
        """Train on from where the state is.

        Args:
            reduction: of the group.
            wish: asked before every step.

        Returns:
            LEFT: some rank wished to; the other endings: there is nothing left to be done. All ranks return the same,
            at the same step, which is committed.

        Raises:
            GroupLost: the group is no more. Enter again with the next.
            RecipeError, NonFiniteError, InvalidInputError: the run cannot go on.
        """
        self._agree(reduction)
        step = self._new_step(self._training, reduction)
        while True:
            self._evaluate(reduction)
            ending = self._ending()
            if ending is None:
                ending = self._step(step, wish())
            if ending is not None:
                reduction.sum(torch.zeros(1, dtype=torch.float64))
                self._tell()
                return ending

    def _agree(self, reduction: Reduction) -> None:
        """See that all ranks are equally far; so all have applied what was not told yet."""
        places = torch.zeros(reduction.world, 2, dtype=torch.float64)
        places[reduction.rank] = torch.tensor(self._state.progress, dtype=torch.float64)
        found = reduction.sum(places.flatten()).view(-1, 2)
        if not bool((found == found[0]).all()):
            raise InternalError(f"expected all ranks to be equally far, got (step, evaluated) {found.tolist()!s:.200}")
        if self._untold is not None and self._untold.position != self._state.position:
            self._untold = None  # this rank was behind, and is healed
        self._tell()

    def _step(self, step: Stepping, wish: Wish) -> Ending | None:
        outcome = step.run(wish)
        self._tell()
        self._untold = outcome
        every = self._training.options.checkpoint_steps
        if outcome.total.wish.save or (every and outcome.position.step % every == 0):
            self._listener.save(self._state)
        return Ending.LEFT if outcome.total.wish.leave else None

    def _tell(self) -> None:
        if self._untold is None:
            return
        told, self._untold = self._untold, None
        means = {name: value / told.total.samples for name, value in told.total.sums.items()}
        self._listener.committed(StepCommitted(told.position, told.total.samples, means))

    def _ending(self) -> Ending | None:
        options, state = self._training.options, self._state
        if self._exhausted():
            return Ending.FINISHED
        if options.patience and state.course.waited >= options.patience:
            return Ending.STOPPED_EARLY
        return None

    def _exhausted(self) -> bool:
        options, position = self._training.options, self._state.position
        if options.steps is not None:
            return position.step >= options.steps
        return position.epoch >= (options.epochs or 0)

    def _evaluate(self, reduction: Reduction) -> None:
        """Close an epoch, if one has ended and that was not done yet."""
        state, training = self._state, self._training
        due = state.position.offset == 0 or self._exhausted()
        if not due or state.course.evaluated == state.position.step:
            return
        means: dict[str, float] = {}
        if training.validation is not None:
            means = self._new_evaluation(training, training.validation, reduction).run(state.position.step)
            self._tell()
        self._close(means)

    def _close(self, validation: dict[str, float]) -> None:
        state, recipe, options = self._state, self._training.recipe, self._training.options
        with of_recipe(f"after step {state.position.step}"):
            training = dict(recipe.summary(state.course.means()))
            validation = dict(recipe.summary(validation)) if validation else {}
        epoch = state.position.epoch - (state.position.offset == 0)
        record = EpochRecord(epoch, state.position.step, state.course.samples, training, validation, best=False)
        record = state.course.end(record, options)
        if record.best and options.keep_best:
            state.keep_best()
        self._listener.ended(record)
