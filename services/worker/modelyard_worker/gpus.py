"""Which GPU of a worker an instance is loaded onto. Policy only: no I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from modelyard.deployment import Placement

CUDA = "cuda"


class Gpus:
    """Spreads instances over the GPUs of a worker: each goes to the one that has the fewest."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        """`names` as the worker announces them: "cuda:0" and so on."""
        self._names = names
        self._taken: Counter[str] = Counter()

    def assign(self, placement: Placement) -> Placement:
        """The placement with the device that it is for: the one that it names, a GPU of those here, or the CPU.

        Where there is no GPU it says `cuda`: the runner will say what is missing.
        """
        device = placement.options.device or (CUDA if placement.resources.gpu else "cpu")
        if device == CUDA and self._names:
            device = min(self._names, key=lambda name: self._taken[name])
        if device in self._names:
            self._taken[device] += 1
        return replace(placement, options=replace(placement.options, device=device))

    def give_back(self, placement: Placement) -> None:
        """The end of what `assign` has returned."""
        if placement.options.device in self._names:
            self._taken[placement.options.device] -= 1
