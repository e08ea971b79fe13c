"""A recipe for tests, as `gated` is, whose model can be cut in every way. It is copied to be run."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from modelyard.train import Recipe

GATE_CALL = 3


class Staged(Recipe):
    """Predicts the number of a sample from its two columns. `gate`: a directory; empty: it waits for nothing."""

    lr: float = 0.05
    gate: str = ""
    _calls: int = 0

    def model(self) -> nn.Module:
        torch.set_num_threads(1)
        return nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2), nn.Linear(2, 1))

    def collate(self, samples: Sequence[Any]) -> tuple[Any, Any]:
        self._calls += 1
        if self.gate and self._calls == GATE_CALL:
            (Path(self.gate) / str(os.getpid())).touch()
            while not (Path(self.gate) / "open").exists():
                time.sleep(0.01)
        return super().collate(samples)

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return ((outputs.squeeze(1) - targets / 100) ** 2).mean()

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(model.parameters(), lr=self.lr)

    def metrics(self, outputs: torch.Tensor, targets: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """Their means say whether every sample was counted once."""
        return {"number": targets.float(), "square": targets.float() ** 2}
