"""Recipes that are fitted to a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Optimizer

from modelyard.errors import InvalidInputError
from modelyard.preprocessing.options import LabelOptions, Options, ScalingOptions, TargetOptions
from modelyard.preprocessing.preprocessing import Preprocessing
from modelyard.train import TableRecipe, TrainingOptions, run_local
from modelyard.train.data.opening import TableOptions, open_table
from modelyard.train.data.table import Table
from modelyard.train.local import training
from modelyard.train.state import TrainingState
from tests.unit.train.data.written import write


class Fitted(TableRecipe):
    """Of two columns; `labels`: whether the target is one of classes."""

    labels: bool = True

    def options(self, train: Table) -> Sequence[Options]:
        target = LabelOptions("y", output="output") if self.labels else TargetOptions("y", output="output")
        return [ScalingOptions(train.view.features, to="input"), target]

    def model(self) -> nn.Module:
        scaling = self.fitted.encodings[0]
        return nn.Linear(len(scaling.takes), 3)

    def loss(self, outputs: torch.Tensor, targets: Any) -> torch.Tensor:
        return nn.functional.cross_entropy(outputs, targets, reduction="none")

    def weights(self, targets: torch.Tensor) -> torch.Tensor:
        return self.class_weights(targets)

    def optimizer(self, model: nn.Module) -> Optimizer:
        return torch.optim.SGD(model.parameters(), lr=0.1)


def table(directory: Path) -> Table:
    return open_table(write(directory, "csv"), TableOptions(target="y"))


def test_it_is_trained_on_what_is_encoded_and_leaves_what_it_has_fitted(tmp_path: Path) -> None:
    train, held_out = table(tmp_path).split((0.8, 0.2), seed=0)
    result = run_local(Fitted(), train, held_out, TrainingOptions(epochs=2))
    assert result.history[-1].validation["loss"] < 1.2
    fitted = Preprocessing.of_bytes(result.state.preprocessing)
    again = Preprocessing.fit(train.columns(), Fitted().options(train))
    assert fitted.to_bytes() == again.to_bytes()


@pytest.mark.parametrize(
    ("side", "message"),
    [
        ("to", "an argument 'x', .* Linear has input: rename it in the model, or say to='input' in"),
        ("output", "an output 'logits', .* Linear has output: rename it in the model, or say output='output' in"),
    ],
)
def test_a_model_that_could_not_be_served_is_not_trained(tmp_path: Path, side: str, message: str) -> None:
    class Unnamed(Fitted):
        def options(self, train: Table) -> Sequence[Options]:
            scaling = ScalingOptions(train.view.features, to="x" if side == "to" else "input")
            return [scaling, LabelOptions("y", output="logits" if side == "output" else "output")]

    with pytest.raises(InvalidInputError, match=f"^before the first step: expected a model with {message}"):
        run_local(Unnamed(), table(tmp_path))


class Normed(nn.Module):
    """Two outputs of inputs that come by position; it notes in which mode it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.modes: list[bool] = []
        self.norm = nn.BatchNorm1d(2)
        self.last = nn.Linear(2, 3)

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> dict[str, torch.Tensor]:
        self.modes.append(self.training)
        return {"logits": self.last(self.norm(torch.stack([first, second], dim=1)))}


class Pairs(Fitted):
    """Its inputs are two columns, in their order; what it is served with has no names of inputs."""

    def options(self, train: Table) -> Sequence[Options]:
        return [LabelOptions("y")]

    def model(self) -> nn.Module:
        return Normed()

    def collate(self, samples: Sequence[Any]) -> tuple[Any, Any]:
        inputs, targets = super().collate(samples)
        return (inputs["a"].float(), inputs["b"].float()), targets

    def loss(self, outputs: Any, targets: Any) -> torch.Tensor:
        return super().loss(outputs["logits"], targets)


def test_a_look_at_a_model_changes_nothing_about_it(tmp_path: Path) -> None:
    made = training(Pairs(), table(tmp_path), None, TrainingOptions())
    assert isinstance(made.state.module, Normed)
    assert made.state.module.modes == [False]
    assert all(module.training for module in made.state.module.modules())
    fresh = TrainingState.new(Pairs(), table(tmp_path), TrainingOptions()).module.state_dict()
    found = made.state.module.state_dict()
    assert found.keys() == fresh.keys()
    assert all(torch.equal(value, fresh[name]) for name, value in found.items())


def test_what_only_an_export_asks_for_does_not_keep_a_model_from_being_trained(tmp_path: Path) -> None:
    class Unnamed(Fitted):
        def options(self, train: Table) -> Sequence[Options]:
            return [ScalingOptions(train.view.features)]

        def model(self) -> nn.Module:
            return Odd()

        def weights(self, targets: torch.Tensor) -> torch.Tensor:
            return torch.ones(len(targets))

        def loss(self, outputs: Any, targets: Any) -> torch.Tensor:
            return super().loss(outputs[0], targets)

    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 3)

        def forward(self, x: torch.Tensor) -> Any:
            return self.layer(x), None

    assert run_local(Unnamed(), table(tmp_path)).history


def test_samples_are_scaled_and_labelled(tmp_path: Path) -> None:
    rows = table(tmp_path)
    recipe = Fitted()
    recipe.prepare(rows)
    samples = [recipe.samples(rows)[index] for index in range(len(rows))]
    inputs = torch.stack([inputs for inputs, _ in samples])
    torch.testing.assert_close(inputs.mean(dim=0), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(inputs.std(dim=0, correction=0), torch.ones(2))
    assert [int(label) for _, label in samples] == rows.labels().tolist()


def test_every_class_counts_the_same(tmp_path: Path) -> None:
    labels = torch.tensor([0] * 6 + [1] * 3 + [2])
    (tmp_path / "t.csv").write_text(
        "a,b,y\n" + "".join(f"{n},{-n},{label}\n" for n, label in enumerate(labels.tolist()))
    )
    recipe = Fitted()
    recipe.prepare(open_table(tmp_path / "t.csv", TableOptions(target="y")))
    weights = recipe.class_weights(labels)
    assert weights.dtype == torch.float32
    torch.testing.assert_close(weights.mean(), torch.tensor(1.0))
    sums = torch.stack([weights[labels == label].sum() for label in range(3)])
    torch.testing.assert_close(sums, torch.full((3,), 10 / 3))


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="Fitted: expected `prepare` to have been called"):
        Fitted().preprocessing()
    with pytest.raises(InvalidInputError, match="expected a table, as open_table returns it, got list"):
        run_local(Fitted(), [(torch.zeros(2), torch.tensor(0))])
    numbers = Fitted(labels=False)
    numbers.prepare(table(tmp_path))
    with pytest.raises(InvalidInputError, match="Fitted: expected LabelOptions and a target"):
        numbers.class_weights(torch.zeros(1, dtype=torch.int64))
