from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import nn

from modelyard.errors import InternalError, InvalidInputError
from modelyard.train.failure import NonFiniteError, RecipeError
from modelyard.train.local import training
from modelyard.train.options import TrainingOptions
from modelyard.train.order import order
from modelyard.train.position import Position
from modelyard.train.recipe import Recipe
from modelyard.train.reduction import Alone, GroupLost
from modelyard.train.step import Step, Training
from modelyard.train.tally import Wish
from tests.unit.train.interruptions import Interrupted
from tests.unit.train.recipes import Pair, Small, pairs


def of(recipe: Recipe, data: list[Pair] | None = None, **options: Any) -> Training:
    return training(recipe, data or pairs(10), None, TrainingOptions(**{"batch_size": 4, **options}))


def test_a_step_is_one_of_torch() -> None:
    trained = of(Small(clip_norm=0.2))
    expected = copy.deepcopy(trained.state.module)
    outcome = Step(trained, Alone()).run()

    indices = order(10, 0, 0)[:4]
    inputs = torch.stack([pairs(10)[i][0] for i in indices])
    targets = torch.stack([pairs(10)[i][1] for i in indices])
    optimizer = torch.optim.SGD(expected.parameters(), lr=0.2, momentum=0.9)
    loss = torch.nn.functional.cross_entropy(expected(inputs), targets)
    torch.autograd.backward(loss)
    assert torch.nn.utils.clip_grad_norm_(expected.parameters(), 0.2) > 0.2
    optimizer.step()

    assert outcome.total.sums["loss"] == pytest.approx(4 * loss.item(), rel=1e-6)
    assert outcome.total.samples == 4
    assert outcome.position == trained.state.position == Position(1, 0, 4)
    for mine, other in zip(trained.state.module.parameters(), expected.parameters(), strict=True):
        assert torch.allclose(mine, other, atol=1e-7)


@pytest.mark.parametrize("at", range(3))
def test_an_interrupted_step_has_changed_nothing(at: int) -> None:
    trained = of(Small(normalised=True, dropout=0.3), accumulation=2)
    Step(trained, Alone()).run()
    before = copy.deepcopy(trained.state.state_dict())
    with pytest.raises(GroupLost):
        Step(trained, Interrupted(at)).run()
    assert same(trained.state.state_dict(), before)
    assert all(parameter.grad is None for parameter in trained.state.module.parameters())

    clean = of(Small(normalised=True, dropout=0.3), accumulation=2)
    for _ in range(2):
        Step(clean, Alone()).run()
    Step(trained, Alone()).run()
    assert same(trained.state.state_dict(), clean.state.state_dict())


def test_sums_are_on_their_way_while_the_last_backward_pass_is_done() -> None:
    class Noting(Alone):
        def __init__(self) -> None:
            self.noted: list[str] = []

        def wrap(self, module: nn.Module) -> nn.Module:
            next(module.parameters()).register_hook(lambda _: self.noted.append("backward"))  # type: ignore[no-untyped-call]
            return module

        def begin_sum(self, values: torch.Tensor) -> Callable[[], torch.Tensor]:
            self.noted.append("begun")
            return lambda: self.sum(values)

        def sum(self, values: torch.Tensor) -> torch.Tensor:
            self.noted.append("waited for")
            return values

    reduction = Noting()
    Step(of(Small(), accumulation=2), reduction).run()
    assert reduction.noted == ["backward", "begun", "backward", "waited for"]


def test_micro_batches_come_to_the_same() -> None:
    whole, cut = of(Small()), of(Small(), accumulation=2)
    for trained in (whole, cut):
        step = Step(trained, Alone())
        for _ in range(3):
            step.run()
    for mine, other in zip(whole.state.module.parameters(), cut.state.module.parameters(), strict=True):
        assert torch.allclose(mine, other, atol=1e-6)
    assert whole.state.course.sums == pytest.approx(cut.state.course.sums, abs=1e-6)


def test_random_numbers_are_those_of_step_and_rank() -> None:
    class Drawing(Small):
        def forward(self, model: torch.nn.Module, inputs: Any) -> Any:
            self._drawn = [*getattr(self, "_drawn", []), torch.rand(1).item()]
            return model(inputs)

    class Second(Alone):
        rank, world = 1, 2

    recipes = [Drawing() for _ in range(3)]
    for recipe in recipes[:2]:
        step = Step(of(recipe), Alone())
        step.run()
        step.run()
    with pytest.raises(InternalError, match="expected a sum over 4 samples, got one over 2"):
        Step(of(recipes[2]), Second()).run()
    first, again, other = (recipe._drawn for recipe in recipes)
    assert first == again
    assert len({*first, *other}) == 3


def test_wishes_are_told() -> None:
    assert Step(of(Small()), Alone()).run(Wish(save=True)).total.wish == Wish(leave=False, save=True)


def test_weights_of_samples_count() -> None:
    class Weighted(Small):
        heavy: float = 0.0

        def loss(self, outputs: Any, targets: Any) -> torch.Tensor:
            return torch.nn.functional.cross_entropy(outputs, targets, reduction="none")

        def weights(self, targets: Any) -> torch.Tensor:
            return torch.where(targets == 0, self.heavy, 1.0)

    data = [(one[0], torch.tensor(0)) for one in pairs(4)]
    trained = of(Weighted(momentum=0.0), data)
    before = copy.deepcopy(trained.state.module.state_dict())
    assert Step(trained, Alone()).run().total.sums["loss"] == 0
    assert same(trained.state.module.state_dict(), before)
    double, single = of(Weighted(heavy=2.0), data), of(Weighted(heavy=1.0), data)
    sums = [Step(one, Alone()).run().total.sums["loss"] for one in (double, single)]
    assert sums[0] == pytest.approx(2 * sums[1])


def test_bf16_is_another_arithmetic() -> None:
    fine, coarse = of(Small()), of(Small(), precision="bf16")
    losses = [Step(one, Alone()).run().total.sums["loss"] for one in (fine, coarse)]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
    assert all(parameter.dtype == torch.float32 for parameter in coarse.state.module.parameters())


def test_a_loss_that_is_not_finite_ends_with_step_and_samples() -> None:
    data = pairs(10)
    bad = int(order(10, 0, 0)[6])
    data[bad] = (torch.full_like(data[bad][0], float("inf")), data[bad][1])
    trained = of(Small(), data)
    step = Step(trained, Alone())
    step.run()
    before = copy.deepcopy(trained.state.state_dict())
    with pytest.raises(NonFiniteError, match="step 1: the loss is not finite; samples of the batch: ") as caught:
        step.run()
    assert caught.value.samples == tuple(order(10, 0, 0)[4:8].tolist())
    assert same(trained.state.state_dict(), before)


def test_gradients_that_are_not_finite_end_where_they_are_clipped() -> None:
    class Steep(Small):
        def loss(self, outputs: Any, targets: Any) -> torch.Tensor:
            return torch.sqrt(outputs - outputs.detach()).sum()  # 0, with an infinite slope

    with pytest.raises(NonFiniteError, match="step 0: the norm of the gradients is not finite"):
        Step(of(Steep(clip_norm=1.0)), Alone()).run()


def test_what_the_recipe_raises_has_its_own_traceback() -> None:
    class Raising(Small):
        def loss(self, outputs: Any, targets: Any) -> torch.Tensor:
            raise KeyError("label")

    trained = of(Raising())
    with pytest.raises(RecipeError, match="step 0: the recipe raised KeyError: 'label'") as caught:
        Step(trained, Alone()).run()
    assert "test_step.py" in caught.value.traceback
    assert 'raise KeyError("label")' in caught.value.traceback
    assert "modelyard/train" not in caught.value.traceback
    assert trained.state.position == Position()


@pytest.mark.parametrize(
    ("loss", "metric", "expected"),
    [
        (torch.zeros(2), torch.zeros(4), r"loss: expected a tensor of shape \[\] or \[4\], got one of \[2\]"),
        (3.0, torch.zeros(4), "loss: expected a tensor .*, got float"),
        (None, torch.zeros(()), r"metrics: 'mine': expected a tensor of shape \[4\], got one of \[\]"),
    ],
)
def test_shapes_that_were_not_expected_are_named(loss: Any, metric: torch.Tensor, expected: str) -> None:
    class Wrong(Small):
        def loss(self, outputs: Any, targets: Any) -> Any:
            return super().loss(outputs, targets) if loss is None else loss

        def metrics(self, outputs: Any, targets: Any) -> Mapping[str, torch.Tensor]:
            return {"mine": metric}

    with pytest.raises(InvalidInputError, match="step 0: " + expected):
        Step(of(Wrong()), Alone()).run()


@pytest.mark.parametrize("name", [1, "", "a\nb", "\ud800", "x" * 201])
def test_names_of_metrics_can_be_shown(name: Any) -> None:
    class Named(Small):
        def metrics(self, outputs: Any, targets: Any) -> Mapping[str, torch.Tensor]:
            return {"top 1 @ größe": torch.zeros(len(targets)), name: torch.zeros(len(targets))}

    with pytest.raises(InvalidInputError, match=r"step 0: metrics: expected names of 1 to 200 characters .*, got "):
        Step(of(Named()), Alone()).run()


def same(left: Any, right: Any) -> bool:
    """Whether two states are equal, bit for bit."""
    if isinstance(left, torch.Tensor):
        return torch.equal(left, right)
    if isinstance(left, Mapping):
        return left.keys() == right.keys() and all(same(value, right[name]) for name, value in left.items())
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)
