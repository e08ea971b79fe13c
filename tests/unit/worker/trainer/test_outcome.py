"""What comes of a job whose model cannot be exported, and what is said of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

from modelyard.chunks import guess_format, scan
from modelyard.jobs.dataset import Artifact, Dataset
from modelyard.jobs.gang import Charter
from modelyard.jobs.training import Code, TrainingData, TrainingSpec
from modelyard.train.course import EpochRecord
from modelyard.train.data.opening import TableOptions, open_table
from modelyard.train.export.weights import read_weights
from modelyard.train.local import training
from modelyard.train.options import TrainingOptions
from modelyard.train.recipe import Recipe
from modelyard_worker.trainer.data import Opened
from modelyard_worker.trainer.outcome import metrics, outcome, publication


class Stubborn(nn.Module):
    """Takes what cannot be named."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def forward(self, rows: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack([self.layer(row) for row in rows])


class Refusing(Recipe):
    def model(self) -> nn.Module:
        return Stubborn()

    def collate(self, samples: object) -> tuple[object, torch.Tensor]:
        inputs, targets = super().collate(samples)  # type: ignore[arg-type]
        return {"other": inputs}, targets

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return (outputs - targets).mean()

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr=0.1)

    def preprocessing(self) -> bytes:
        return b"of its own"


def test_weights_are_kept_where_the_export_fails(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", a=np.arange(4.0), y=np.arange(4))
    table = open_table(tmp_path / "data.npz", TableOptions(target="y"))
    trained = training(Refusing(), table, None, TrainingOptions(seed=3))
    trained.state.course.history += [
        EpochRecord(0, 1, 4, {"loss": 2.0}, {"loss": 3.0}, best=True),
        EpochRecord(1, 2, 4, {"loss": 1.0}, {"loss": float("inf")}, best=False),
    ]
    spec = TrainingSpec("m", Code(Artifact("c" * 64), "r"), TrainingData(Dataset(Artifact("d" * 64))), seed=3)
    charter = Charter("job-1", "acme", spec, "secret")
    made = outcome(charter, trained, Opened(table, None, ""), tmp_path / "outcome")
    assert "expected tensors for forward's arguments rows" in made.reason
    assert guess_format(scan(made.directory)) == "safetensors"
    assert set(read_weights(made.directory / "best.safetensors")) == {"layer.weight", "layer.bias"}
    assert (made.directory / "preprocessing.bin").read_bytes() == b"of its own"
    record = json.loads((made.directory / "training.json").read_bytes())
    assert (record["job"], record["code_digest"], record["data_digest"]) == ("job-1", "c" * 64, "d" * 64)
    assert record["exports"]["reason"] == made.reason

    said = publication(charter, trained, made)
    assert (said.request, said.tenant, said.lineage.dataset) == ("job-1", "acme", "d" * 64)
    assert "not exported" in said.description
    assert said.metrics == {"loss": 1.0}  # the last epoch's: no best weights were kept
    trained.state.keep_best()
    assert metrics(trained) == {"loss": 2.0, "validation_loss": 3.0}
