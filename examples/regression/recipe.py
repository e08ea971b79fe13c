"""Signals of 100 values with noise: how were they without?

On a laptop:
    python -m examples.regression.data . && python examples/regression/recipe.py

On two workers:
    modelyard train examples/regression --data train.npz --validation held_out.npz --target clean --workers 2
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from modelyard.train import Recipe


class Regression(Recipe):
    """100 values in, 200 between, 100 values out."""

    lr: float = 1e-3

    def model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(100, 200), nn.ReLU(), nn.Linear(200, 100))

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.mse_loss(outputs, targets)

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(model.parameters(), lr=self.lr)

    def summary(self, means: Mapping[str, float]) -> Mapping[str, float]:
        """The root of the mean square, too: it has the unit of the values."""
        return {**means, "rmse": means["loss"] ** 0.5}


if __name__ == "__main__":
    from modelyard.train import TrainingOptions, run_local
    from modelyard.train.data.opening import TableOptions, open_table

    train, held_out = (open_table(f"{name}.npz", TableOptions(target="clean")) for name in ("train", "held_out"))
    run_local(Regression(), train, held_out, TrainingOptions(epochs=30, batch_size=64), progress=True)
