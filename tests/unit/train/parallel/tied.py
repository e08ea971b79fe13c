"""Recipes of models that have a weight twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.distributed.tensor.parallel import ColwiseParallel, ParallelStyle

from tests.unit.train.parallel.cases import Net


class TiedNet(nn.Module):
    """Two layers have a weight in common."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.first, self.last, self.head = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.blocks = nn.ModuleList([nn.Linear(8, 8)])
        self.last.weight = self.first.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.head(self.last(self.blocks[0](torch.tanh(self.first(self.up(x))))))
        return y


class Tied(Net):
    """Has both of them in one stage."""

    def model(self) -> nn.Module:
        return TiedNet()

    def pipeline_split(self, model: nn.Module, stages: int) -> Sequence[nn.Module]:
        assert isinstance(model, TiedNet)
        return [model.up, nn.Sequential(model.first, nn.Tanh(), model.blocks[0], model.last, model.head)]


class Apart(Tied):
    """Has one of them in a unit of its own, or cuts one only."""

    def shard_units(self, model: nn.Module) -> Sequence[nn.Module]:
        return [model.get_submodule("first")]

    def tensor_plan(self, model: nn.Module) -> Mapping[str, ParallelStyle]:
        return {"first": ColwiseParallel()}
