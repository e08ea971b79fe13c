"""Handwritten digits of 8x8 pixels: which of the ten is it?

On a laptop:
    python -m examples.digits.data . && python examples/digits/recipe.py

On two workers:
    modelyard train examples/digits --data train.npz --validation held_out.npz --target digit --workers 2
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from modelyard.train import Recipe


class Digits(Recipe):
    """64 pixels, two hidden layers, a score for each digit."""

    hidden: int = 128
    lr: float = 2e-3

    def model(self) -> nn.Module:
        return nn.Sequential(
            nn.Linear(64, self.hidden),
            nn.ReLU(),
            nn.Linear(self.hidden, self.hidden),
            nn.ReLU(),
            nn.Linear(self.hidden, 10),
        )

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(outputs, targets)

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(model.parameters(), lr=self.lr)

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        return {"accuracy": (outputs.argmax(dim=1) == targets).float()}


if __name__ == "__main__":
    from modelyard.train import TrainingOptions, run_local
    from modelyard.train.data.opening import TableOptions, open_table

    train, held_out = (open_table(f"{name}.npz", TableOptions(target="digit")) for name in ("train", "held_out"))
    run_local(Digits(), train, held_out, TrainingOptions(epochs=30, batch_size=64), progress=True)
