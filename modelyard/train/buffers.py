"""A model's buffers, such as the means of a batch normalisation: the forward pass changes them, on each rank apart."""

from __future__ import annotations

import torch
from torch import nn

from modelyard.train.reduction import Reduction


class Buffers:
    """The buffers as they were after the last step that was applied."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._kept = {name: buffer.detach().clone() for name, buffer in module.named_buffers()}

    def restore(self) -> None:
        """Undo what an interrupted step has changed."""
        for name, buffer in self._changed().items():
            with torch.no_grad():
                buffer.copy_(self._kept[name])

    def average(self, reduction: Reduction, samples: int, total: int) -> dict[str, torch.Tensor]:
        """Return the means over ranks, weighted by samples, of what a step has changed on any; nothing is written yet.

        Raises:
            GroupLost: the reduction's.
        """
        if not self._kept or reduction.world == 1:
            return {}
        changed = self._changed()
        flags = torch.tensor([float(name in changed) for name in self._kept], dtype=torch.float64)
        anywhere = reduction.sum(flags).tolist()
        current = dict(self._module.named_buffers())
        moved = [current[name] for name, flag in zip(self._kept, anywhere, strict=True) if flag]
        if not moved:
            return {}
        flat = torch.cat([buffer.detach().double().flatten().cpu() for buffer in moved])
        means = torch.split(reduction.sum(flat * (samples / total)), [buffer.numel() for buffer in moved])
        names = [name for name, flag in zip(self._kept, anywhere, strict=True) if flag]
        return dict(zip(names, means, strict=True))

    def settle(self, means: dict[str, torch.Tensor]) -> None:
        """Write means into the buffers, and keep what they are now."""
        current = dict(self._module.named_buffers())
        with torch.no_grad():
            for name, mean in means.items():
                buffer = current[name]
                exact = mean if buffer.is_floating_point() else mean.round()
                buffer.copy_(exact.view_as(buffer))
        for name, buffer in self._changed().items():
            self._kept[name] = buffer.detach().clone()

    def _changed(self) -> dict[str, torch.Tensor]:
        """Those with other values; torch's own counter of changes misses what batch normalisation writes."""
        current = dict(self._module.named_buffers())
        return {name: current[name] for name, kept in self._kept.items() if not torch.equal(current[name], kept)}
