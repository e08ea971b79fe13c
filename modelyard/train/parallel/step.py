"""A step, as a rank does it that has a part of the model."""

from __future__ import annotations

import math

import torch

from modelyard.train.buffers import Buffers
from modelyard.train.computation import Computation
from modelyard.train.failure import NonFiniteError, of_recipe
from modelyard.train.order import Indices
from modelyard.train.parallel.passes import Passes, WholePasses
from modelyard.train.parallel.placement import Placement
from modelyard.train.parallel.reduction import GridReduction
from modelyard.train.randomness import seed
from modelyard.train.samples import Batch
from modelyard.train.step import NO_WISH, Outcome, Training
from modelyard.train.tally import Total, Wish


class ParallelStep:
    """Steps of a rank of a grid. There is nothing to be done again: if a rank is lost, its replica is."""

    def __init__(self, training: Training, placement: Placement) -> None:
        """`training`: its state's module is the placement's, its optimizer made of that one.

        Raises:
            InvalidInputError: stages cannot do it: as `pipeline.check_stage`.
        """
        self._training = training
        self._state = training.state
        self._reduction = GridReduction(placement.grid)
        self._module = placement.module
        self._passes = _passes(training, placement, self._reduction)
        # Stages, which have no buffers that change, would not have the same ones.
        self._buffers = Buffers(placement.module) if placement.stages == 1 else None
        self._names: list[str] = []

    def run(self, wish: Wish = NO_WISH) -> Outcome:
        """Do the next step.

        Raises:
            NonFiniteError: a loss, or the norm of gradients that are clipped; on all ranks. The state is as before.
            RecipeError: the user's code raised; the other ranks wait in vain, and have to be ended.
            InvalidInputError: it returned something that was not expected.
        """
        state, options, train = self._state, self._training.options, self._training.train
        begin, end = state.position.batch(len(train), options.batch_size)
        indices = train.order(state.position.epoch)[begin:end]
        seed("step", options.seed, state.position.step, self._reduction.rank)
        applied = False
        try:
            self._module.train()
            with of_recipe(f"step {state.position.step}"):
                tally = self._passes.run(indices, self._read)
            # A rank may have no sample of its first batch, and the names are those of its replica's last stage.
            self._names = self._names or self._reduction.agreed(sorted(tally.sums))
            total = tally.total(self._reduction, self._names, wish)
            total.check(indices, state.position.step, self._reduction.world)
            means = self._buffers.average(self._reduction, tally.samples, total.samples) if self._buffers else {}
            self._clip(indices)
            applied = True
            self._apply(means, total)
        finally:
            state.optimizer.zero_grad()
            if self._buffers and not applied:
                self._buffers.restore()
        return Outcome(state.position, total)

    def _read(self, indices: Indices) -> Batch:
        return self._training.train.training(self._state.position.epoch, indices)

    def _clip(self, indices: Indices) -> None:
        limit = self._training.recipe.clip_norm
        if limit is None:
            return
        parameters = list(self._module.parameters())
        norm = float(self._reduction.norm(parameters))
        if not math.isfinite(norm):
            raise NonFiniteError("the norm of the gradients", self._state.position.step, indices.tolist())
        # As torch.nn.utils.clip_grad_norm_ has it, which cannot add up parameters that are cut in different ways.
        factor = min(1.0, limit / (norm + 1e-6))
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad.mul_(factor)

    def _apply(self, means: dict[str, torch.Tensor], total: Total) -> None:
        state = self._state
        if self._buffers:
            self._buffers.settle(means)
        with of_recipe(f"step {state.position.step}"):
            state.optimizer.step()
            if state.scheduler is not None:
                state.scheduler.step()
        state.position = state.position.after(len(self._training.train), self._training.options.batch_size)
        state.course.count(total.samples, total.sums)


def _passes(training: Training, placement: Placement, reduction: GridReduction) -> Passes:
    recipe, options = training.recipe, training.options
    if placement.stages == 1:
        computation = Computation(recipe, placement.module, options.precision)
        return WholePasses(computation, reduction, options.accumulation)
    from modelyard.train.parallel.pipeline import PipelinedPasses  # noqa: PLC0415 (it takes torch seconds to load)

    return PipelinedPasses(recipe, placement, reduction, options)
