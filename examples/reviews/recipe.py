"""Film reviews: did they like it? Clean text, words, a vector for each, an LSTM that reads them, two classes.

On a laptop:
    python -m examples.reviews.data . && python examples/reviews/recipe.py

On two workers:
    modelyard train examples/reviews --data train.jsonl --validation held_out.jsonl --target label --workers 2
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from modelyard.preprocessing.options import LabelOptions, Options, TextOptions
from modelyard.train import TableRecipe
from modelyard.train.data.table import Table


class Reader(nn.Module):
    """Ids of words INT64 [n, length], where 0 is padding, to a score for each class, FP32 [n, classes]."""

    def __init__(self, words: int, width: int, classes: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width, padding_idx=0)
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.scores = nn.Linear(width, classes)

    def forward(self, ids: Tensor) -> dict[str, Tensor]:
        states, _ = self.lstm(self.embedding(ids))
        words = (ids != 0).unsqueeze(2)
        mean = (states * words).sum(dim=1) / words.sum(dim=1).clamp(min=1)  # not over the padding
        return {"logits": self.scores(mean)}


class Reviews(TableRecipe):
    """Takes text and returns a label and its score, once it is served: what is fitted travels with the model."""

    length: int = 200
    words: int = 20_000
    width: int = 64
    lr: float = 2e-3

    def options(self, train: Table) -> Sequence[Options]:
        return [TextOptions("text", length=self.length, tokens=self.words), LabelOptions(train.view.target)]

    def model(self) -> nn.Module:
        vocabulary, labels = self.fitted.vocabulary, self.fitted.labels
        assert vocabulary  # as `options` says
        assert labels
        return Reader(vocabulary.size, self.width, len(labels.names))

    def loss(self, outputs: dict[str, Tensor], targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(outputs["logits"], targets)

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(model.parameters(), lr=self.lr)

    def metrics(self, outputs: dict[str, Tensor], targets: Tensor) -> dict[str, Tensor]:
        return {"accuracy": (outputs["logits"].argmax(dim=1) == targets).float()}


if __name__ == "__main__":
    from modelyard.train import TrainingOptions, run_local
    from modelyard.train.data.opening import TableOptions, open_table

    rows, held_out = (open_table(f"{name}.jsonl", TableOptions(target="label")) for name in ("train", "held_out"))
    run_local(Reviews(), rows, held_out, TrainingOptions(epochs=6), progress=True)
