"""A recipe small enough for a test, in variants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, StepLR

from modelyard.train.recipe import Recipe

Pair = tuple[torch.Tensor, torch.Tensor]
FEATURES = 6
CLASSES = 3


def pairs(samples: int, seed: int = 7) -> list[Pair]:
    """Samples of a classification that can be learnt: FP32 [6] and a label."""
    generator = np.random.Generator(np.random.Philox(key=seed))
    inputs = torch.from_numpy(generator.normal(size=(samples, FEATURES)).astype(np.float32))
    labels = inputs[:, :CLASSES].argmax(dim=1)
    return [(inputs[i], labels[i]) for i in range(samples)]


class Small(Recipe):
    """Two layers; momentum, a schedule, gradients that are clipped."""

    lr: float = 0.2
    hidden: int = 8
    dropout: float = 0.0
    normalised: bool = False
    momentum: float = 0.9

    def model(self) -> nn.Module:
        middle: list[nn.Module] = [nn.BatchNorm1d(self.hidden)] if self.normalised else []
        return nn.Sequential(
            nn.Linear(FEATURES, self.hidden),
            *middle,
            nn.Tanh(),
            nn.Dropout(self.dropout),
            nn.Linear(self.hidden, CLASSES),
        )

    def loss(self, outputs: Any, targets: Any) -> torch.Tensor:
        return nn.functional.cross_entropy(outputs, targets)

    def optimizer(self, model: nn.Module) -> Optimizer:
        return torch.optim.SGD(model.parameters(), lr=self.lr, momentum=self.momentum)

    def scheduler(self, optimizer: Optimizer, steps: int) -> LRScheduler:
        return StepLR(optimizer, step_size=max(1, steps // 2), gamma=0.5)

    def metrics(self, outputs: Any, targets: Any) -> Mapping[str, torch.Tensor]:
        return {"accuracy": (outputs.argmax(dim=1) == targets).float()}


class Augmented(Small):
    """Adds noise to its samples."""

    def augment(self, sample: Pair, generator: np.random.Generator) -> Pair:
        noise = generator.normal(scale=0.1, size=FEATURES).astype(np.float32)
        return sample[0] + torch.from_numpy(noise), sample[1]
