"""Recipes for tests, each with a fault of its own. The file is copied to be run."""

from __future__ import annotations

import torch
from torch import nn

from modelyard.train import Recipe

torch.set_num_threads(1)
CLASSES = 3


class Sound(Recipe):
    """Tells classes apart by two columns."""

    _losses: int = 0

    def model(self) -> nn.Module:
        return nn.Linear(2, CLASSES)

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        self._losses += 1
        return nn.functional.cross_entropy(outputs, targets)

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr=0.1)


class Raises(Sound):
    """In its third step."""

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        found = super().loss(outputs, targets)
        if self._losses == 3:
            raise ValueError("odd")
        return found


class Diverges(Sound):
    """In its second step."""

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        found = super().loss(outputs, targets)
        return found * float("nan") if self._losses == 2 else found
