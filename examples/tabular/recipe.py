"""30 measurements of cells: is the tumour benign or malignant? There are fewer of the latter, which count for more.

On a laptop:
    python -m examples.tabular.data . && python examples/tabular/recipe.py

On two workers:
    modelyard train examples/tabular --data train.csv --validation held_out.csv --target diagnosis --workers 2
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from modelyard.preprocessing.options import LabelOptions, Options, ScalingOptions
from modelyard.train import TableRecipe
from modelyard.train.data.table import Table


class Tabular(TableRecipe):
    """Layers of 128, 64 and 1; a sigmoid makes a probability of the last."""

    lr: float = 1e-3

    def options(self, train: Table) -> Sequence[Options]:
        return [
            ScalingOptions(train.view.features, to="input"),
            LabelOptions(train.view.target, output="output", activation="sigmoid"),
        ]

    def model(self) -> nn.Module:
        features = len(self.fitted.encodings[0].takes)
        return nn.Sequential(
            nn.Linear(features, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 1), nn.Flatten(0)
        )

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        # The binary cross-entropy of the sigmoid, for each sample: `weights` says what it counts.
        return nn.functional.binary_cross_entropy_with_logits(outputs, targets.float(), reduction="none")

    def weights(self, targets: Tensor) -> Tensor:
        return self.class_weights(targets)

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(model.parameters(), lr=self.lr)

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        return {"accuracy": ((outputs >= 0) == targets.bool()).float()}


if __name__ == "__main__":
    from modelyard.train import TrainingOptions, run_local
    from modelyard.train.data.opening import TableOptions, open_table

    rows, held_out = (open_table(f"{name}.csv", TableOptions(target="diagnosis")) for name in ("train", "held_out"))
    run_local(Tabular(), rows, held_out, TrainingOptions(epochs=30), progress=True)
