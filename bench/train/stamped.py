"""A recipe for benchmarks that says when its first step was committed. It is copied to be run."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from modelyard.train import Recipe

STEPS = 2
"""With the second one that is applied all ranks have applied the first: it is committed."""


class Stamped(Recipe):
    """Predicts a column from two others. `stamps`: the directory into which each process writes the time, once."""

    stamps: str
    _applied: int = 0

    def model(self) -> nn.Module:
        torch.set_num_threads(1)
        return nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return ((outputs.squeeze(1) - targets / 100) ** 2).mean()

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        made = torch.optim.SGD(model.parameters(), lr=0.01)
        made.register_step_post_hook(self._stamp)
        return made

    def _stamp(self, *_: Any) -> None:
        self._applied += 1
        if self._applied == STEPS:
            path = Path(self.stamps) / str(os.getpid())
            path.with_suffix(".new").write_text(str(time.time()))
            path.with_suffix(".new").rename(path)
