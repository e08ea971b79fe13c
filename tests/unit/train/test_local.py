from __future__ import annotations

import io
import re
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
import torch
from rich.console import Console

from modelyard.errors import InvalidInputError
from modelyard.train import Recipe, TrainingOptions, run_local
from modelyard.train.course import EpochRecord
from modelyard.train.events import StepCommitted
from modelyard.train.loop import Ending
from modelyard.train.position import Position
from modelyard.train.progress import TerminalProgress
from tests.unit.train.recipes import Small, pairs
from tests.unit.train.test_loop import Told
from tests.unit.train.test_step import same

DOCUMENT = Path(__file__).parents[3] / "docs" / "training.md"


def test_a_small_problem_is_learnt() -> None:
    options = TrainingOptions(epochs=8, batch_size=16, metric="accuracy", mode="max")
    result = run_local(Small(), pairs(200), pairs(60, seed=8), options)
    assert result.ending == Ending.FINISHED
    assert result.history[-1].validation["accuracy"] > 0.8
    assert not result.module.training
    assert set(result.best_weights) == set(result.module.state_dict())
    assert same(
        run_local(Small(), pairs(200), pairs(60, seed=8), options).state.state_dict(), result.state.state_dict()
    )


def test_one_epoch_without_validation_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    result = run_local(Small(), pairs(40), [])
    assert [(record.step, record.validation) for record in result.history] == [(2, {})]
    assert capsys.readouterr().out == ""


def test_progress_is_shown_where_it_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    told = Told()
    run_local(Small(), pairs(8), pairs(4), listener=told, progress=True)
    assert (len(told.steps), len(told.epochs)) == (1, 1)
    assert re.search(r"epoch 1 .*loss \d.*validation: .*accuracy \d.*\(best\)", capsys.readouterr().out)


def test_a_bar_counts_steps_and_names_the_loss() -> None:
    out = io.StringIO()
    with TerminalProgress(4, Console(file=out, force_terminal=True, width=100)) as shown:
        shown.committed(StepCommitted(Position(3, 0, 9), 3, {"loss": 0.123456}))
        shown.ended(EpochRecord(0, 3, 9, {"loss": 0.5}, {}, best=False))
    assert "3/4" in out.getvalue()
    assert "loss 0.1235" in out.getvalue()
    assert re.search(r"epoch 1  loss 0.5\s*$", out.getvalue(), re.MULTILINE)


def example(name: str) -> CodeType:
    """One of the programs of the document, which has a recipe and a script."""
    (found,) = (text for text in re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL) if name in text)
    return compile(found, str(DOCUMENT), "exec")


def test_the_recipe_of_the_document_trains(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {"__name__": "__main__"}
    exec(example("class Line(Recipe)"), names)
    assert issubclass(names["Line"], Recipe)  # type: ignore[arg-type]
    slope = float(capsys.readouterr().out.split()[-1])
    assert slope == pytest.approx(3, abs=0.1)
    assert torch.is_grad_enabled()


def test_the_script_of_the_document_trains_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}.items():
        monkeypatch.setenv(name, value)
    for _ in range(2):  # the second one has nothing left to be done
        exec(example("init_process_group"), {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 50
    assert float(lines[-1].removeprefix("epoch 49: loss ")) < 0.1
    outputs = torch.export.load("model.pt2").module()(torch.linspace(-1, 1, 3).unsqueeze(1))
    assert outputs.squeeze(1).tolist() == pytest.approx([-2.0, 1.0, 4.0], abs=0.5)


@pytest.mark.parametrize(
    ("recipe", "train", "message"),
    [
        (Small, [1], "recipe: expected an instance of a Recipe, got the class Small"),
        (Small(), (n for n in [1]), r"train: expected a list or a map-style dataset: .*; got generator"),
    ],
)
def test_what_is_no_recipe_or_no_dataset_is_named(recipe: Any, train: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        run_local(recipe, train)
