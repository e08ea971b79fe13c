"""What ranks are told to do. Each returns plain values."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.distributed.tensor.parallel import ColwiseParallel, ParallelStyle, RowwiseParallel
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, StepLR

from modelyard.errors import ModelyardError
from modelyard.jobs.training import Parallelism
from modelyard.train.options import TrainingOptions
from modelyard.train.parallel.gathering import gather
from modelyard.train.parallel.mesh import mesh
from modelyard.train.parallel.placement import Placement, place
from modelyard.train.parallel.step import ParallelStep
from modelyard.train.recipe import Recipe
from modelyard.train.reduction import Alone
from modelyard.train.samples import Samples
from modelyard.train.state import TrainingState
from modelyard.train.step import Step, Training

SAMPLES = 22
"""Of these a batch of 8 leaves 6 for the last one, and one of 7 a single one."""


class Points:
    """Points in 6 dimensions of 3 classes, one after the other."""

    def __init__(self, samples: int = SAMPLES) -> None:
        random = np.random.default_rng(3)
        self._x = random.normal(size=(samples, 6)).astype(np.float32)
        self._y = (np.arange(samples) % 3).astype(np.int64)

    def __len__(self) -> int:
        return len(self._x)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self._x[index], self._y[index]


class Net(Recipe):
    """Four layers, a weight for each class, clipped gradients, a schedule."""

    clip_norm: float | None = 0.5
    loss_of_each: bool = True

    def model(self) -> nn.Module:
        return nn.Sequential(
            nn.Linear(6, 16),
            nn.Tanh(),
            nn.Linear(16, 8),
            nn.LayerNorm(8),
            nn.Linear(8, 12),
            nn.ReLU(),
            nn.Linear(12, 3),
        )

    def loss(self, outputs: Any, targets: Any) -> torch.Tensor:
        loss = nn.functional.cross_entropy(outputs, targets, reduction="none" if self.loss_of_each else "mean")
        assert isinstance(loss, torch.Tensor)
        return loss

    def weights(self, targets: Any) -> torch.Tensor | None:
        return torch.tensor([0.5, 1.0, 1.5])[targets] if self.loss_of_each else None

    def optimizer(self, model: nn.Module) -> Optimizer:
        return torch.optim.AdamW(model.parameters(), lr=0.01)

    def scheduler(self, optimizer: Optimizer, steps: int) -> LRScheduler | None:
        return StepLR(optimizer, 2, 0.5)

    def metrics(self, outputs: Any, targets: Any) -> Mapping[str, torch.Tensor]:
        return {"accuracy": (outputs.argmax(1) == targets).float()}


class Normed(Net):
    """Has buffers that change."""

    def model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 3))


class Wide(Net):
    """What is said of tensors is short beside them."""

    def model(self) -> nn.Module:
        first, last = nn.Linear(6, 512), nn.Linear(512, 3)
        return nn.Sequential(first, nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), last)


class Broken(Net):
    """The loss is infinite where the target is 2, as that of the third sample is."""

    def loss(self, outputs: Any, targets: Any) -> torch.Tensor:
        losses: torch.Tensor = super().loss(outputs, targets) / (targets != 2)
        return losses


class Leaving(Net):
    """Its optimizer ends the process, as it thinks."""

    def optimizer(self, model: nn.Module) -> Optimizer:
        optimizer = super().optimizer(model)
        optimizer.register_step_pre_hook(lambda *_: sys.exit(3))
        return optimizer


class Own(Net):
    """Calls its model in a way of its own."""

    def forward(self, model: nn.Module, inputs: Any) -> Any:
        return model(inputs * 2)


class Block(nn.Module):
    """A layer with a way around it."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(6, 8), nn.Linear(8, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = x + self.down(torch.tanh(self.up(x)))
        return y


class Blocks(nn.Module):
    """No nn.Sequential: who has it must say how it is cut."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(), Block()])
        self.head = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        y: torch.Tensor = self.head(x)
        return y


class Unsaid(Net):
    """Says nothing about how it is cut."""

    def model(self) -> nn.Module:
        return Blocks()


class Said(Unsaid):
    """Says how it is cut."""

    def tensor_plan(self, model: nn.Module) -> Mapping[str, ParallelStyle]:
        ups = {f"blocks.{n}.up": ColwiseParallel() for n in range(2)}
        return {**ups, **{f"blocks.{n}.down": RowwiseParallel() for n in range(2)}}

    def pipeline_split(self, model: nn.Module, stages: int) -> Sequence[nn.Module]:
        assert isinstance(model, Blocks)
        return [model.blocks[0], nn.Sequential(model.blocks[1], model.head)]


class Wrong(Said):
    """Leaves a part out."""

    def pipeline_split(self, model: nn.Module, stages: int) -> Sequence[nn.Module]:
        assert isinstance(model, Blocks)
        return [model.blocks[0], model.head]


class Unheard(Said):
    """Names what is not there."""

    def tensor_plan(self, model: nn.Module) -> Mapping[str, ParallelStyle]:
        return {"block.0": ColwiseParallel()}


def state_of(recipe: Recipe, options: TrainingOptions, grid: Any = None) -> tuple[TrainingState, Placement | None]:
    placed: list[Placement] = []

    def cut(model: nn.Module) -> nn.Module:
        placed.append(place(recipe, model, grid))
        return placed[0].module

    state = (
        TrainingState.new(recipe, Points(), options, place=cut)
        if grid
        else TrainingState.new(recipe, Points(), options)
    )
    return state, placed[0] if placed else None


def alone(recipe: Recipe, options: TrainingOptions) -> tuple[dict[str, torch.Tensor], list[dict[str, float]]]:
    """The weights and the sums of a run on one process."""
    state, _ = state_of(recipe, options)
    training = Training(recipe, state, options, Samples(recipe, Points(), options.seed))
    step = Step(training, Alone())
    sums = [step.run().total.sums for _ in range(options.total_steps(SAMPLES))]
    return state.module.state_dict(), sums


def difference(
    recipe: type[Recipe], given: dict[str, Any], shape: Parallelism, said: dict[str, Any]
) -> dict[str, float]:
    """How far a run on all ranks is from one on one process; how many elements of parameters this rank has."""
    options, made = TrainingOptions(**said), recipe(**given)
    state, placement = state_of(made, options, mesh(shape))
    assert placement
    training = Training(made, state, options, Samples(made, Points(), options.seed))
    step = ParallelStep(training, placement)
    outcomes = [step.run() for _ in range(options.total_steps(SAMPLES))]
    weights = gather(placement)
    expected, sums = alone(made, options)
    assert list(weights) == (list(expected) if weights else [])
    here = sum(len(getattr(p, "_local_tensor", p).flatten()) for p in placement.module.parameters())
    told = [abs(o.total.sums[n] - s[n]) / 8 for o, s in zip(outcomes, sums, strict=True) for n in s]
    return {
        "weights": max((float((weights[n] - expected[n]).abs().max()) for n in weights), default=-1.0),
        "sums": max(told),
        "elements": here,
        "whole": sum(p.numel() for p in expected.values()),
        "epoch": state.position.epoch,
    }


def buffers(recipe: type[Recipe], shape: Parallelism) -> tuple[list[float], int]:
    """The means of batch normalisation after some steps, and in how many they were counted."""
    options, made = TrainingOptions(steps=3, batch_size=7), recipe()
    state, placement = state_of(made, options, mesh(shape))
    assert placement
    step = ParallelStep(Training(made, state, options, Samples(made, Points(), options.seed)), placement)
    for _ in range(3):
        step.run()
    norm = state.module.get_submodule("1")
    assert isinstance(norm, nn.BatchNorm1d)
    assert norm.running_mean is not None
    assert norm.num_batches_tracked is not None
    return norm.running_mean.tolist(), int(norm.num_batches_tracked)


def not_finite(shape: Parallelism) -> tuple[str, bool]:
    """With what message a step ends whose loss is not finite; whether weights are as before."""
    options, made = TrainingOptions(batch_size=4, shuffled=False), Broken()
    state, placement = state_of(made, options, mesh(shape))
    assert placement
    step = ParallelStep(Training(made, state, options, Samples(made, Points(), 0, shuffled=False)), placement)
    before = gather(placement)
    try:
        step.run()
    except ModelyardError as error:
        after = gather(placement)
        return error.message, all(bool((before[n] == after[n]).all()) for n in before) and state.position.step == 0
    return "", False


def raised(recipe: type[Recipe], shape: Parallelism) -> str:
    """With what message the first step ends."""
    options, made = TrainingOptions(batch_size=4), recipe()
    state, placement = state_of(made, options, mesh(shape))
    assert placement
    step = ParallelStep(Training(made, state, options, Samples(made, Points(), 0)), placement)
    try:
        step.run()
    except ModelyardError as error:
        return error.message
    return ""


def refused(recipe: type[Recipe], shape: Parallelism) -> str:
    """With what message a model is not cut."""
    try:
        made, options = recipe(), TrainingOptions()
        state, placement = state_of(made, options, mesh(shape))
        assert placement
        ParallelStep(Training(made, state, options, Samples(made, Points(), 0)), placement)
    except ModelyardError as error:
        return error.message
    return ""
