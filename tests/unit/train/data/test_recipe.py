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
