"""What was measured, as a version has it and as it is drawn."""

from __future__ import annotations

import math
from pathlib import Path

from modelyard.train.course import Course, EpochRecord
from modelyard.train.state import TrainingState
from modelyard_worker.trainer import figures
from tests.unit.train.recipes import Small


def state(*history: EpochRecord) -> TrainingState:
    recipe = Small()
    module = recipe.model()
    return TrainingState(module, recipe.optimizer(module), course=Course(history=list(history)))


def test_the_objective_is_among_as_many_as_a_version_may_have() -> None:
    many = {f"value {number}": float(number) for number in range(150)}
    found = figures.metrics(state(EpochRecord(0, 1, 1, many, {"value 149": 7.0}, best=True)), "value 149")
    assert len(found) == figures.MOST
    assert list(found)[:3] == ["value_149", "validation_value_149", "value_0"]
    assert (found["value_149"], found["validation_value_149"]) == (149.0, 7.0)


def test_what_is_not_finite_and_what_would_have_anothers_name_is_left_out() -> None:
    told = {"loss": math.nan, "a b": 1.0, "a@b": 2.0}
    assert figures.metrics(state(EpochRecord(0, 1, 1, told, {}, best=False)), "a@b") == {"a_b": 2.0}
    assert figures.metrics(state(), "loss") == {}


def test_a_value_of_validation_alone_has_its_chart(tmp_path: Path) -> None:
    history = [EpochRecord(0, 4, 8, {"loss": 1.0}, {"recall": math.nan, "loss": 3.0}, best=True)]
    charts = figures.charts(history)
    assert [(chart.title, dict(chart.lines)) for chart in charts] == [
        ("loss", {"training": [(4, 1.0)], "validation": [(4, 3.0)]}),
        ("recall", {"validation": [(4, history[0].validation["recall"])]}),
    ]
    figures.write(tmp_path, history)
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    (events,) = (tmp_path / "events").iterdir()
    assert b"validation/recall" in events.read_bytes()
