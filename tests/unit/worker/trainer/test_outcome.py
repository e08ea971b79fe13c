"""What comes of a job, whether its model can be exported or not, and what is said of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
from modelyard.train.step import Training
from modelyard_registry.formats.inspection import read_signature
from modelyard_worker.trainer.data import Opened
from modelyard_worker.trainer.exporting import Exporter
from modelyard_worker.trainer.figures import metrics
from modelyard_worker.trainer.outcome import Outcome, outcome, publication
from tests.unit.train.recipes import CLASSES, FEATURES, Small, pairs


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


class Unknown(Small):
    """Its model is of a class that nobody can import, and has what cannot be pickled by reference."""

    def model(self) -> nn.Module:
        class Scaled(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.inner = nn.Linear(FEATURES, CLASSES)
                self.scale: Callable[[Any], Any] = lambda values: 2 * values

            def forward(self, rows: torch.Tensor) -> Any:
                return self.scale(self.inner(rows))

        return Scaled()


def charter(**spec: Any) -> Charter:
    data = TrainingData(Dataset(Artifact("d" * 64)))
    return Charter("job-1", "acme", TrainingSpec("m", Code(Artifact("c" * 64), "r"), data, seed=3, **spec), "secret")


async def made(trained: Training, data: Opened, directory: Path) -> Outcome:
    exporter = Exporter(directory, asyncio.get_running_loop())
    return await asyncio.to_thread(outcome, charter(), trained, data, exporter, directory / "outcome")


async def test_weights_are_kept_where_the_export_fails(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", a=np.arange(4.0), y=np.arange(4))
    table = open_table(tmp_path / "data.npz", TableOptions(target="y"))
    trained = training(Refusing(), table, None, TrainingOptions(seed=3))
    trained.state.course.history += [
        EpochRecord(0, 1, 4, {"loss": 2.0}, {"loss": 3.0}, best=True),
        EpochRecord(1, 2, 4, {"loss": 1.0}, {"loss": float("inf")}, best=False),
    ]
    found = await made(trained, Opened(table, None, ""), tmp_path)
    assert "expected tensors for forward's arguments rows" in found.reason
    assert guess_format(scan(found.directory)) == "safetensors"
    assert set(read_weights(found.directory / "best.safetensors")) == {"layer.weight", "layer.bias"}
    assert (found.directory / "preprocessing.bin").read_bytes() == b"of its own"
    record = json.loads((found.directory / "training.json").read_bytes())
    assert (record["job"], record["code_digest"], record["data_digest"]) == ("job-1", "c" * 64, "d" * 64)
    assert f"export: {record['exports']['export']}" == found.reason

    said = publication(charter(), trained, found)
    assert (said.request, said.tenant, said.lineage.dataset) == ("job-1", "acme", "d" * 64)
    assert "not exported" in said.description
    assert said.resources.memory_bytes == 0
    assert said.metrics == {"loss": 1.0}  # the last epoch's: no best weights were kept
    trained.state.keep_best()
    assert metrics(trained.state, "loss") == {"loss": 2.0, "validation_loss": 3.0}


async def test_a_model_has_its_weights_and_its_program_beside_it(tmp_path: Path) -> None:
    trained = training(Unknown(), pairs(8), None, TrainingOptions(seed=3))
    trained.state.course.history += [
        EpochRecord(0, 1, 8, {"loss": 2.0}, {"loss": float("nan"), "acc@1": 0.5}, best=False),
    ]
    found = await made(trained, Opened(pairs(8), None, ""), tmp_path)  # type: ignore[arg-type] # any dataset will do
    assert found.reason == ""
    names = {path.relative_to(found.directory).as_posix() for path in found.directory.rglob("*") if path.is_file()}
    assert {name for name in names if not name.startswith("events/")} == {
        "model.onnx",
        "torch_export/model.pt2",
        "weights/best.safetensors",
        "weights/last.safetensors",
        "training.json",
        "curves.png",
    }
    assert guess_format(scan(found.directory)) == "onnx"
    assert read_signature("onnx", found.directory, allow_unsafe=False).inputs[0].shape[0] == -1
    assert found.served_bytes < sum((found.directory / name).stat().st_size for name in names)
    said = publication(charter(), trained, found)
    assert said.metrics == {"loss": 2.0, "validation_acc_1": 0.5}
    assert said.resources.memory_bytes > 2 * found.served_bytes > 0
    assert said.description == "trained by job job-1, seed 3"
