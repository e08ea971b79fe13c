"""Sums over samples, of one rank and of all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

from modelyard.errors import InternalError, InvalidInputError
from modelyard.train.failure import NonFiniteError
from modelyard.train.order import Indices
from modelyard.train.reduction import Reduction
from modelyard.train.shares import portion


@dataclass(frozen=True)
class Wish:
    """What a rank wants once the step that comes is applied: if one wants it, all do it, after that very step.

    Attributes:
        leave: to end the run here: somebody comes or goes.
        save: a checkpoint.
    """

    leave: bool = False
    save: bool = False


@dataclass(frozen=True)
class Total:
    """Sums over all ranks: the same on each.

    Attributes:
        samples: how many there were.
        sums: of loss and metrics, by name.
        not_finite: the ranks whose sum of losses is not.
        wish: of any.
    """

    samples: int
    sums: dict[str, float]
    not_finite: tuple[int, ...]
    wish: Wish

    def check(self, indices: Indices, step: int, world: int) -> None:
        """See that it is of these samples, which so many ranks have shared in a step, and that it can be applied.

        Raises:
            NonFiniteError: the sum of losses of one is not finite.
            InternalError: it is of another number of samples.
        """
        if self.samples != len(indices):
            raise InternalError(f"expected a sum over {len(indices)} samples, got one over {self.samples}")
        if self.not_finite:
            shares = [portion(len(indices), rank, world) for rank in self.not_finite]
            bad = [index for begin, end in shares for index in indices[begin:end].tolist()]
            raise NonFiniteError("the loss", step, bad)


@dataclass
class Tally:
    """Sums of one rank.

    Attributes:
        samples: how many were added.
        sums: of loss and metrics, by name, FP64 [] each.
    """

    samples: int = 0
    sums: dict[str, torch.Tensor] = field(default_factory=dict)

    def add(self, samples: int, sums: Mapping[str, torch.Tensor]) -> None:
        """Add the sums of so many samples.

        Raises:
            InvalidInputError: they have other names than those before.
        """
        if self.samples and sums.keys() != self.sums.keys():
            raise InvalidInputError(f"metrics: expected {sorted(self.sums)} as before, got {sorted(sums)}")
        self.samples += samples
        self.sums = {name: value + self.sums[name] if name in self.sums else value for name, value in sums.items()}

    def total(self, reduction: Reduction, names: list[str], wish: Wish) -> Total:
        """Return the sums over all ranks; names are the same on all, also where no sample was added.

        Raises:
            GroupLost: the reduction's.
        """
        return self.begin_total(reduction, names, wish)()

    def begin_total(self, reduction: Reduction, names: list[str], wish: Wish) -> Callable[[], Total]:
        """Begin to sum over all ranks; what is returned waits for it, and returns what `total` does.

        Raises:
            GroupLost: the reduction's, of either of both.
        """
        local = [float(self.sums[name]) if name in self.sums else 0.0 for name in names]
        flags = [0.0] * reduction.world
        if self.samples and not torch.isfinite(self.sums["loss"]):
            flags[reduction.rank] = 1.0
        head = [float(self.samples), float(wish.leave), float(wish.save)]
        complete = reduction.begin_sum(torch.tensor([*head, *flags, *local], dtype=torch.float64))
        return lambda: _total(complete().tolist(), reduction.world, names)


def _total(summed: list[float], world: int, names: list[str]) -> Total:
    flags, sums = summed[3 : 3 + world], summed[3 + world :]
    return Total(
        samples=round(summed[0]),
        sums=dict(zip(names, sums, strict=True)),
        not_finite=tuple(rank for rank, flag in enumerate(flags) if flag),
        wish=Wish(leave=summed[1] > 0, save=summed[2] > 0),
    )
