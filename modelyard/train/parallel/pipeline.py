"""The passes of a step through stages: GPipe (Huang et al., 2019) or 1F1B (Narayanan et al., "PipeDream", 2019)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe
from torch.utils._pytree import tree_leaves, tree_map

from modelyard.errors import InvalidInputError
from modelyard.train.computation import Computation, on_device
from modelyard.train.options import TrainingOptions
from modelyard.train.order import Indices
from modelyard.train.parallel.mesh import PIPELINE
from modelyard.train.parallel.passes import Read
from modelyard.train.parallel.placement import Placement
from modelyard.train.parallel.reduction import GridReduction
from modelyard.train.parallel.stages import Given, arguments
from modelyard.train.recipe import Recipe
from modelyard.train.samples import Batch
from modelyard.train.shares import portion
from modelyard.train.tally import Tally

SCHEDULES = {"gpipe": ScheduleGPipe, "1f1b": Schedule1F1B}


class PipelinedPasses:
    """Of a stage. All micro-batches are of one shape: a part that is smaller is filled up with what does not count.

    So samples are of one shape, too. There are as many micro-batches as `accumulation` says, but one for each stage at
    least.
    """

    def __init__(
        self,
        recipe: Recipe,
        placement: Placement,
        reduction: GridReduction,
        options: TrainingOptions,
        schedule: str = "1f1b",
    ) -> None:
        """`schedule`: one of SCHEDULES.

        Raises:
            InvalidInputError: stages cannot do it: as `check_stage`.
        """
        check_stage(recipe, placement.module)
        self._placement = placement
        self._reduction = reduction
        self._precision = options.precision
        self._given = Given(placement.module)
        self._computation = Computation(recipe, self._given, options.precision)
        self._part = Batch((), (), 0)
        self._samples = 1
        self._warm = False
        self._tally = Tally()
        count = max(options.accumulation, placement.stages)
        self._rows = -(-_largest(options.batch_size, reduction.world) // count) * count
        stage = PipelineStage(
            placement.module,
            placement.stage,
            placement.stages,
            self._computation.device,
            group=placement.grid[PIPELINE].get_group(),
        )
        self._schedule = SCHEDULES[schedule](stage, count, loss_fn=self._loss, scale_grads=False)

    def run(self, indices: Indices, read: Read) -> Tally:
        """See Passes."""
        if not self._warm:
            self._warm_up(indices, read)
        return self._pass(indices, read)

    def _warm_up(self, indices: Indices, read: Read) -> None:
        """Find out the shapes between stages: this calls layers and loss once more than a step does, so undo it."""
        module, random = self._placement.module, torch.get_rng_state()
        kept = {name: buffer.detach().clone() for name, buffer in module.named_buffers()}
        self._pass(indices, read)
        module.zero_grad()
        with torch.no_grad():
            for name, buffer in module.named_buffers():
                buffer.copy_(kept[name])
        torch.set_rng_state(random)
        self._warm = True

    def _pass(self, indices: Indices, read: Read) -> Tally:
        begin, end = portion(len(indices), self._reduction.rank, self._reduction.world)
        filling = np.repeat(indices[:1], self._rows - (end - begin))
        self._samples, self._tally = len(indices), Tally()
        device = self._computation.device
        with torch.autocast(device.type, torch.bfloat16, enabled=self._precision == "bf16"):
            if self._placement.is_last:
                rows = torch.arange(self._rows)
                batch = read(np.concatenate([indices[begin:end], filling]))
                self._part = Batch((), on_device(batch.targets, device), end - begin)
                self._schedule.step(target=rows, losses=[], return_outputs=False)
            elif self._placement.stage == 0:
                batch = read(np.concatenate([indices[begin:end], filling]))
                args, named = arguments(on_device(batch.inputs, device))
                self._schedule.step(*args, **named, return_outputs=False)
            else:
                self._schedule.step(return_outputs=False)
        return self._tally

    def _loss(self, outputs: Any, rows: torch.Tensor) -> torch.Tensor:
        """The loss of a micro-batch as far as it counts. `rows`: which of the part they are, INT64 [n]."""
        counted = int((rows < self._part.size).sum())
        if not counted:
            return torch.stack([leaf.float().sum() * 0.0 for leaf in tree_leaves(outputs)]).sum()
        first = int(rows[0])
        self._given.outputs = tree_map(lambda value: value[:counted], outputs)
        targets = tree_map(lambda value: value[first : first + counted], self._part.targets)
        loss, sums = self._computation(Batch((), targets, counted))
        self._tally.add(counted, sums)
        mean: torch.Tensor = loss / self._samples
        return mean


def check_stage(recipe: Recipe, stage: nn.Module) -> None:
    """Raise InvalidInputError if a recipe calls its model in a way of its own, or a stage normalises over a batch."""
    if type(recipe).forward is not Recipe.forward:
        raise InvalidInputError("pipeline: expected a recipe without a forward of its own, which stages cannot call")
    for name, module in stage.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            raise InvalidInputError(
                f"pipeline: expected no batch normalisation, since batches are filled up; got {name}"
            )


def _largest(batch_size: int, parts: int) -> int:
    """The most samples that a part can have: of a whole batch, or of an odd one that is too small for all parts."""
    return max(portion(batch_size, 0, parts)[1], min(batch_size, 3))
