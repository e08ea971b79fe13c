"""A step, as one rank does it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from modelyard.train.buffers import Buffers
from modelyard.train.computation import Computation
from modelyard.train.failure import NonFiniteError, of_recipe
from modelyard.train.options import TrainingOptions
from modelyard.train.order import Indices
from modelyard.train.position import Position
from modelyard.train.randomness import seed
from modelyard.train.recipe import Recipe
from modelyard.train.reduction import Reduction
from modelyard.train.samples import Samples
from modelyard.train.shares import pieces, portion
from modelyard.train.state import TrainingState
from modelyard.train.tally import Tally, Total, Wish

NO_WISH = Wish()


@dataclass(frozen=True)
class Training:
    """What a rank trains.

    Attributes:
        validation: None: there are no such data.
    """

    recipe: Recipe
    state: TrainingState
    options: TrainingOptions
    train: Samples
    validation: Samples | None = None

    def computation(self) -> Computation:
        """The model with its loss."""
        return Computation(self.recipe, self.state.module, self.options.precision)


@dataclass(frozen=True)
class Outcome:
    """What a step has done.

    Attributes:
        position: after it.
        total: what was summed over all ranks.
    """

    position: Position
    total: Total


class Step:
    """Steps of a rank in one group. An interrupted step has changed nothing, and can be done again in another group."""

    def __init__(self, training: Training, reduction: Reduction) -> None:
        self._training = training
        self._state = training.state
        self._reduction = reduction
        self._computation = training.computation()
        self._wrapped = reduction.wrap(self._computation)
        self._buffers = Buffers(training.state.module)
        self._names: list[str] = []

    def run(self, wish: Wish = NO_WISH) -> Outcome:
        """Do the next step.

        Raises:
            GroupLost: the reduction's; the state is as before.
            NonFiniteError: a loss, or the norm of gradients that are clipped; on all ranks. The state is as before.
            RecipeError: the user's code raised; the state is as before.
            InvalidInputError: it returned something that was not expected.
        """
        applied = False
        try:
            indices = self._indices()
            tally, totalled = self._gradients(indices, wish)
            total = totalled()
            total.check(indices, self._state.position.step, self._reduction.world)
            means = self._buffers.average(self._reduction, tally.samples, total.samples)
            self._clip(indices)
            applied = True
            self._apply(means, total)
        finally:
            self._state.module.zero_grad()  # also of what the optimizer leaves as it is
            if not applied:
                self._buffers.restore()
        return Outcome(self._state.position, total)

    def _indices(self) -> Indices:
        """The samples of the global batch."""
        train, position = self._training.train, self._state.position
        begin, end = position.batch(len(train), self._training.options.batch_size)
        return train.order(position.epoch)[begin:end]

    def _gradients(self, indices: Indices, wish: Wish) -> tuple[Tally, Callable[[], Total]]:
        """Leave the gradients of the mean over the global batch.

        Returns:
            The sums over this rank's part, and what waits for those over all parts. These are begun before the last
            backward pass, and are there when it ends: after it, all ranks would wait for them once more.
        """
        tally, totalled = Tally(), None
        self._computation.train()
        parts = self._parts(len(indices))
        step = self._state.position.step
        seed("step", self._training.options.seed, step, self._reduction.rank)
        for number, (begin, end) in enumerate(parts, start=1):
            last = number == len(parts)
            with of_recipe(f"step {step}"), self._reduction.accumulating(self._wrapped, last):
                loss = self._loss(indices[begin:end], tally)
                if last:
                    totalled = tally.begin_total(self._reduction, self._known_names(tally, indices), wish)
                (loss / len(indices)).backward()  # type: ignore[no-untyped-call]
        assert totalled is not None  # noqa: S101 (there is a last part)
        return tally, totalled

    def _parts(self, samples: int) -> list[tuple[int, int]]:
        """The micro-batches of this rank's part."""
        begin, end = portion(samples, self._reduction.rank, self._reduction.world)
        return pieces(begin, end, self._training.options.accumulation)

    def _loss(self, indices: Indices, tally: Tally) -> torch.Tensor:
        """The sum of the losses of a micro-batch, FP32 []; its values are added to the tally."""
        epoch = self._state.position.epoch
        batch = self._training.train.training(epoch, indices) if len(indices) else None
        loss: torch.Tensor
        loss, sums = self._wrapped(batch)
        if batch is not None:
            tally.add(batch.size, sums)
        return loss

    def _known_names(self, tally: Tally, indices: Indices) -> list[str]:
        """Names of loss and metrics: a rank whose first share is empty finds out by a sample of another's."""
        if not self._names:
            self._names = sorted(tally.sums or self._state.course.sums or self._foreign_names(indices[:1]))
        return self._names

    def _foreign_names(self, indices: Indices) -> list[str]:
        with of_recipe(f"step {self._state.position.step}"), torch.no_grad():
            self._computation.module.eval()
            _, sums = self._computation(self._training.train.training(self._state.position.epoch, indices))
            return list(sums)

    def _clip(self, indices: Indices) -> None:
        limit = self._training.recipe.clip_norm
        if limit is None:
            return
        norm = torch.nn.utils.clip_grad_norm_(self._state.module.parameters(), limit)
        if not torch.isfinite(norm):
            raise NonFiniteError("the norm of the gradients", self._state.position.step, indices.tolist())

    def _apply(self, means: dict[str, torch.Tensor], total: Total) -> None:
        state, options = self._state, self._training.options
        with of_recipe(f"step {state.position.step}"):
            state.optimizer.step()
            if state.scheduler is not None:
                state.scheduler.step()
        self._buffers.settle(means)
        state.position = state.position.after(len(self._training.train), options.batch_size)
        state.course.count(total.samples, total.sums)
