from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch

from modelyard.errors import InternalError, InvalidInputError
from modelyard.train.course import EpochRecord
from modelyard.train.events import Listener, StepCommitted
from modelyard.train.local import training
from modelyard.train.loop import Ending, Loop
from modelyard.train.options import TrainingOptions
from modelyard.train.position import Position
from modelyard.train.recipe import Recipe
from modelyard.train.reduction import Alone, GroupLost
from modelyard.train.state import TrainingState
from modelyard.train.step import Training
from modelyard.train.tally import Wish
from tests.unit.train.interruptions import Interrupted
from tests.unit.train.recipes import Small, pairs
from tests.unit.train.test_step import same


class Told(Listener):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.steps: list[StepCommitted] = []
        self.epochs: list[EpochRecord] = []
        self.saved: list[int] = []

    def committed(self, step: StepCommitted) -> None:
        self.steps.append(step)

    def ended(self, record: EpochRecord) -> None:
        self.epochs.append(record)

    def save(self, state: TrainingState) -> None:
        self.saved.append(state.position.step)


class Weights(Told):
    """Keeps the weights of every epoch."""

    def __init__(self, state: TrainingState) -> None:
        super().__init__()
        self.state = state
        self.weights: list[dict[str, torch.Tensor]] = []

    def ended(self, record: EpochRecord) -> None:
        super().ended(record)
        self.weights.append(copy.deepcopy(dict(self.state.module.state_dict())))


class Apart(Alone):
    """A group whose other member has applied a step less."""

    world = 2

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        return values + torch.tensor([0, 0, 1, 0], dtype=values.dtype)


def of(recipe: Recipe | None = None, **options: Any) -> Training:
    given = TrainingOptions(**{"epochs": 2, "batch_size": 4, **options})
    return training(recipe or Small(dropout=0.2), pairs(10), pairs(5, seed=8), given)


def test_epochs_count_every_sample_once() -> None:
    trained, told = of(), Told()
    assert Loop(trained, told).run(Alone()) == Ending.FINISHED
    positions = [Position(1, 0, 4), Position(2, 0, 8), Position(3, 1), Position(4, 1, 4), Position(5, 1, 8)]
    assert [step.position for step in told.steps] == [*positions, Position(6, 2)]
    assert [step.samples for step in told.steps] == [4, 4, 2, 4, 4, 2]
    assert [(record.epoch, record.step, record.samples) for record in told.epochs] == [(0, 3, 10), (1, 6, 10)]
    mean = sum(step.values["loss"] * step.samples for step in told.steps[3:]) / 10
    assert told.epochs[1].training["loss"] == pytest.approx(mean)
    assert trained.state.course.history == told.epochs


def test_validation_is_the_mean_over_all_held_out_samples() -> None:
    trained, told = of(), Told()
    Loop(trained, told).run(Alone())
    inputs, targets = map(torch.stack, zip(*pairs(5, seed=8), strict=True))
    outputs = trained.state.module.eval()(inputs)
    expected = {
        "loss": torch.nn.functional.cross_entropy(outputs, targets).item(),
        "accuracy": (outputs.argmax(dim=1) == targets).double().mean().item(),
    }
    assert told.epochs[-1].validation == pytest.approx(expected, abs=1e-6)


def test_a_run_that_is_interrupted_anywhere_comes_to_the_same() -> None:
    clean, clean_told = of(checkpoint_steps=2), Told()
    Loop(clean, clean_told).run(Alone())
    interruptions = 0
    for at in range(100):
        trained, told = of(checkpoint_steps=2), Told()
        loop = Loop(trained, told)
        try:
            ending = loop.run(Interrupted(at))
        except GroupLost:
            interruptions += 1
            ending = loop.run(Alone())
        assert ending == Ending.FINISHED
        assert same(trained.state.state_dict(), clean.state.state_dict())
        assert (told.steps, told.epochs, told.saved) == (clean_told.steps, clean_told.epochs, clean_told.saved)
        if interruptions <= at:
            break
    assert interruptions == 1 + 6 * 2 + 2 + 1  # entry; pass and sum of each step; evaluations; the end


def test_who_wishes_to_leave_does_so_after_the_step() -> None:
    trained, told = of(), Told()
    loop = Loop(trained, told)
    wishes = iter([Wish(), Wish(leave=True, save=True)])
    assert loop.run(Alone(), lambda: next(wishes)) == Ending.LEFT
    assert trained.state.position == Position(2, 0, 8) == told.steps[-1].position
    assert told.saved == [2]
    assert loop.run(Alone()) == Ending.FINISHED
    clean = of()
    Loop(clean).run(Alone())
    assert same(trained.state.state_dict(), clean.state.state_dict())
    assert len(told.steps) == 6


def test_steps_end_a_run_within_an_epoch() -> None:
    trained, told = of(epochs=None, steps=5), Told()
    assert Loop(trained, told).run(Alone()) == Ending.FINISHED
    assert trained.state.position == Position(5, 1, 8)
    assert [(record.epoch, record.step, record.samples) for record in told.epochs] == [(0, 3, 10), (1, 5, 8)]
    assert Loop(trained, told).run(Alone()) == Ending.FINISHED
    assert len(told.epochs) == 2


def test_steps_are_told_as_committed_when_the_next_reduction_is_through() -> None:
    trained, told = of(), Told()
    with pytest.raises(GroupLost):
        Loop(trained, told).run(Interrupted(4))  # entry, pass, sum, pass, and lost in the second step's sum
    assert trained.state.position == Position(1, 0, 4)
    assert told.steps == []


def test_training_stops_early_and_keeps_the_best() -> None:
    class Worse(Small):
        """Its loss grows from its third epoch on."""

        def validation_metrics(self, outputs: Any, targets: Any) -> Mapping[str, torch.Tensor]:
            self._epoch = getattr(self, "_epoch", -1) + 1
            value = abs(self._epoch - 2.0)
            return {"mine": torch.full(targets.shape, value)}

        def summary(self, means: Mapping[str, float]) -> Mapping[str, float]:
            return {**means, "root": math.sqrt(means.get("mine", 0.0))}

    trained = training(
        Worse(),
        pairs(10),
        pairs(4, seed=8),
        TrainingOptions(epochs=10, batch_size=4, metric="root", patience=2, min_delta=0.1),
    )
    told = Weights(trained.state)
    assert Loop(trained, told).run(Alone()) == Ending.STOPPED_EARLY
    assert [record.validation["mine"] for record in told.epochs] == [2, 1, 0, 1, 2]
    assert [record.best for record in told.epochs] == [True, True, True, False, False]
    assert (trained.state.course.best, trained.state.course.best_step) == (0.0, 9)
    assert same(trained.state.best_weights, told.weights[2])
    assert not same(trained.state.best_weights, trained.state.module.state_dict())


@pytest.mark.parametrize(("mode", "best"), [("min", [True, False, False]), ("max", [True, True, False])])
def test_better_is_by_mode_and_min_delta(mode: str, best: list[bool]) -> None:
    class Given(Small):
        def summary(self, means: Mapping[str, float]) -> Mapping[str, float]:
            self._calls = getattr(self, "_calls", -1) + 1
            return {"mine": [1.0, 1.5, 1.55][self._calls]}

    options = TrainingOptions(epochs=3, batch_size=4, metric="mine", mode=mode, min_delta=0.1)
    trained = training(Given(), pairs(8), None, options)
    Loop(trained).run(Alone())
    assert [record.best for record in trained.state.course.history] == best


def test_a_metric_that_there_is_not_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="expected a metric among accuracy, loss; got 'f1'"):
        Loop(of(metric="f1")).run(Alone())


def test_ranks_that_are_not_equally_far_are_refused() -> None:
    with pytest.raises(
        InternalError, match=r"expected all ranks to be equally far, got .*\[\[0.0, 0.0\], \[1.0, 0.0\]\]"
    ):
        Loop(of()).run(Apart())
