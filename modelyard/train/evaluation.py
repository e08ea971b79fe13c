"""The means of loss and metrics over the validation data."""

from __future__ import annotations

import torch

from modelyard.errors import InternalError
from modelyard.train.computation import Computation
from modelyard.train.failure import of_recipe
from modelyard.train.options import TrainingOptions
from modelyard.train.order import Indices, order, share
from modelyard.train.randomness import seed
from modelyard.train.reduction import Reduction
from modelyard.train.samples import Samples
from modelyard.train.tally import Tally, Wish


class Evaluation:
    """Evaluates in one group: every rank a part of the data, in batches as large as its parts of a step's are."""

    def __init__(
        self, computation: Computation, samples: Samples, options: TrainingOptions, reduction: Reduction
    ) -> None:
        self._computation = computation
        self._samples = samples
        self._options = options
        self._reduction = reduction
        self._indices = order(len(samples), options.seed, 0, shuffled=False)

    def run(self, step: int) -> dict[str, float]:
        """Return the means over all samples, of loss and metrics: the same on all ranks. Nothing is changed.

        Raises:
            GroupLost: the reduction's.
            RecipeError: the user's code raised.
            InvalidInputError: it returned something that was not expected.
        """
        seed("evaluation", self._options.seed, step, self._reduction.rank)
        self._computation.eval()
        tally = Tally()
        with of_recipe(f"evaluation after step {step}"), torch.no_grad():
            for begin, end in self._parts():
                self._add(self._indices[begin:end], tally)
            names = sorted(tally.sums or self._foreign_names())
        total = tally.total(self._reduction, names, Wish())
        if total.samples != len(self._samples):
            raise InternalError(f"expected a sum over {len(self._samples)} samples, got one over {total.samples}")
        return {name: value / total.samples for name, value in total.sums.items()}

    def _parts(self) -> list[tuple[int, int]]:
        begin, end = share(0, len(self._samples), self._reduction.rank, self._reduction.world)
        size = max(1, self._options.batch_size // (self._reduction.world * self._options.accumulation))
        return [(first, min(first + size, end)) for first in range(begin, end, size)]

    def _add(self, indices: Indices, tally: Tally) -> None:
        batch = self._samples.plain(indices)
        tally.add(batch.size, self._computation(batch)[1])

    def _foreign_names(self) -> list[str]:
        """Where there are fewer samples than ranks: names of loss and metrics, by a sample of another rank's."""
        return list(self._computation(self._samples.plain(self._indices[:1]))[1])
