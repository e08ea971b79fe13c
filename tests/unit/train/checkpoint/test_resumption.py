"""A run that goes on from a checkpoint ends as one that was never interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from modelyard.train.checkpoint.directory import DirectoryCheckpoints
from modelyard.train.checkpoint.resumption import Saving, resume
from modelyard.train.checkpoint.saver import Checkpoints
from modelyard.train.local import training
from modelyard.train.loop import Loop
from modelyard.train.options import TrainingOptions
from modelyard.train.position import Position
from modelyard.train.recipe import Recipe
from modelyard.train.reduction import Alone
from tests.unit.train.checkpoint.programs import equal

OPTIONS = TrainingOptions(epochs=3, batch_size=4, checkpoint_steps=2, seed=5, patience=3)


class Line(Recipe):
    """y = 3 x, fitted, with dropout, so that random numbers matter."""

    def model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(1, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 1))

    def loss(self, outputs: Any, targets: Any) -> torch.Tensor:
        found: torch.Tensor = (outputs - targets).square().mean()
        return found

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.AdamW(model.parameters(), 0.05)

    def scheduler(self, optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
        return torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=steps)

    def preprocessing(self) -> bytes:
        return b"fitted"


class Data:
    def __len__(self) -> int:
        return 18

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        x = torch.tensor([index / 18])
        return x, 3 * x


def test_a_run_goes_on_at_the_exact_sample(tmp_path: Path) -> None:
    whole = training(Line(), Data(), Data(), OPTIONS)
    Loop(whole).run(Alone())

    store = DirectoryCheckpoints(tmp_path)
    first = training(Line(), Data(), Data(), OPTIONS)
    checkpoints = Checkpoints(store, keep_last=100)
    Loop(first, Saving(checkpoints)).run(Alone())
    checkpoints.close()
    names = store.names()[::-1]
    assert [name.split("-")[0] for name in names] == [f"{step:012d}" for step in range(2, 16, 2)]
    for name in (names[0], names[3]):
        second = training(Line(), Data(), Data(), OPTIONS)
        assert resume(store, second.state, name=name) == name
        assert second.state.position != Position()
        Loop(second).run(Alone())
        assert second.state.position == whole.state.position == Position(15, 3, 0)
        assert equal(second.state.state_dict(), whole.state.state_dict())


def test_there_may_be_nothing_to_resume_from(tmp_path: Path) -> None:
    state = training(Line(), Data(), None, OPTIONS).state
    before = state.module.state_dict()
    assert resume(DirectoryCheckpoints(tmp_path), state) == ""
    assert state.position == Position()
    assert equal(dict(state.module.state_dict()), dict(before))
