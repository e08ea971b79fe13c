"""What is trained in the benchmarks: a classifier whose step takes some ten milliseconds on a core."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from modelyard.train.recipe import Recipe

FEATURES = 256
CLASSES = 10
SAMPLES = 4096
BATCH = 256
LR = 0.05
SEED = 5

Pair = tuple[torch.Tensor, torch.Tensor]


def module() -> nn.Module:
    """About 1.3 million parameters, in several buckets of DDP."""
    wide = 640
    layers = [nn.Linear(FEATURES, wide), nn.ReLU(), nn.Linear(wide, wide), nn.ReLU(), nn.Linear(wide, wide), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(wide, CLASSES))


def pairs() -> list[Pair]:
    """Samples in memory."""
    generator = torch.Generator().manual_seed(SEED)
    inputs = torch.randn(SAMPLES, FEATURES, generator=generator)
    return list(zip(inputs, inputs[:, :CLASSES].argmax(dim=1), strict=True))


class Wide(Recipe):
    """The same as a recipe."""

    def model(self) -> nn.Module:
        return module()

    def loss(self, outputs: Any, targets: Any) -> torch.Tensor:
        return nn.functional.cross_entropy(outputs, targets)

    def optimizer(self, model: nn.Module) -> Optimizer:
        return torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9)
