"""The means of loss and metrics over the validation data, of a model that several ranks share."""

from __future__ import annotations

from typing import Any, Protocol

import torch
import torch.distributed as dist

from modelyard.errors import InternalError
from modelyard.train.computation import Computation, on_device
from modelyard.train.failure import of_recipe
from modelyard.train.order import Indices, order, share
from modelyard.train.parallel.mesh import PIPELINE
from modelyard.train.parallel.placement import Placement
from modelyard.train.parallel.reduction import GridReduction
from modelyard.train.parallel.stages import Given, arguments
from modelyard.train.randomness import seed
from modelyard.train.samples import Batch, Samples
from modelyard.train.step import Training
from modelyard.train.tally import Tally, Wish

Sums = dict[str, torch.Tensor]


class Forward(Protocol):
    """A pass without gradients."""

    def run(self, batch: Batch) -> Sums:
        """Return the sums of loss and metrics of a batch; nothing where there are no outputs."""
        ...


class ParallelEvaluation:
    """Evaluates in one formation. All ranks do as many batches: parts of the model are put together in each of them."""

    def __init__(self, training: Training, placement: Placement, samples: Samples) -> None:
        self._samples = samples
        self._options = training.options
        self._reduction = GridReduction(placement.grid)
        self._module = placement.module
        self._forward = _forward(training, placement)
        self._indices = order(len(samples), training.options.seed, 0, shuffled=False)

    def run(self, step: int) -> dict[str, float]:
        """Return the means over all samples, of loss and metrics: the same on all ranks. Nothing is changed.

        Raises:
            RecipeError: the user's code raised.
            InvalidInputError: it returned something that was not expected.
        """
        seed("evaluation", self._options.seed, step, self._reduction.rank)
        self._module.eval()
        tally = Tally()
        with of_recipe(f"evaluation after step {step}"), torch.no_grad():
            for begin, end in self._parts():
                self._add(self._indices[begin:end], tally)
        total = tally.total(self._reduction, self._reduction.agreed(sorted(tally.sums)), Wish())
        if total.samples != len(self._samples):
            raise InternalError(f"expected a sum over {len(self._samples)} samples, got one over {total.samples}")
        return {name: value / total.samples for name, value in total.sums.items()}

    def _parts(self) -> list[tuple[int, int]]:
        """This rank's batches; as many as any has, the last ones perhaps empty."""
        rank, world = self._reduction.rank, self._reduction.world
        begin, end = share(0, len(self._samples), rank, world)
        size = max(1, self._options.batch_size // (world * self._options.accumulation))
        most = share(0, len(self._samples), 0, world)[1]
        return [(min(begin + first, end), min(begin + first + size, end)) for first in range(0, most, size)]

    def _add(self, indices: Indices, tally: Tally) -> None:
        """Evaluate a batch; where there is none left, a sample that does not count, as the others wait for it."""
        sums = self._forward.run(self._samples.plain(indices if len(indices) else self._indices[:1]))
        if len(indices) and sums:
            tally.add(len(indices), sums)


def _forward(training: Training, placement: Placement) -> Forward:
    if placement.stages == 1:
        return _WholeForward(training.computation())
    return _StagedForward(training, placement)


class _WholeForward:
    """Of a model that each rank calls as a whole."""

    def __init__(self, computation: Computation) -> None:
        self._computation = computation

    def run(self, batch: Batch) -> Sums:
        self._computation.eval()
        sums: Sums = self._computation(batch)[1]
        return sums


class _StagedForward:
    """Of a stage: it gets what the one before returns. There is no schedule: the next batch follows at once."""

    def __init__(self, training: Training, placement: Placement) -> None:
        self._placement = placement
        self._given = Given(placement.module)
        self._computation = Computation(training.recipe, self._given, training.options.precision)
        self._bf16 = training.options.precision == "bf16"
        self._group = placement.grid[PIPELINE].get_group()

    def run(self, batch: Batch) -> Sums:
        device, stage = self._computation.device, self._placement.stage
        args, named = arguments(on_device(batch.inputs, device)) if stage == 0 else (self._received(device), {})
        with torch.autocast(device.type, torch.bfloat16, enabled=self._bf16):
            outputs = self._placement.module(*args, **named)
        if not self._placement.is_last:
            dist.send_object_list([on_device(outputs, torch.device("cpu"))], self._neighbour(1), self._group)
            return {}
        self._given.outputs = outputs
        self._computation.eval()
        sums: Sums = self._computation(Batch((), batch.targets, batch.size))[1]
        return sums

    def _received(self, device: torch.device) -> tuple[Any, ...]:
        received: list[Any] = [None]
        dist.recv_object_list(received, self._neighbour(-1), self._group)
        args, _ = arguments(on_device(received[0], device))
        return args

    def _neighbour(self, distance: int) -> int:
        return dist.get_global_rank(self._group, self._placement.stage + distance)
