"""What is said of the version of a training, and whether it is better than another one."""

from __future__ import annotations

import pytest

from modelyard.catalogue import Resources, Signature, Version
from modelyard.jobs.release import description, metric_name, shortfall, weights_only
from modelyard.jobs.training import Objective
from modelyard.names import MAX_LENGTH, check_name

ACCURACY = Objective("accuracy", higher_is_better=True)


def version(name: str, metrics: dict[str, float], said: str = "") -> Version:
    return Version("m", name, "onnx", Signature(), Resources(), "d" * 64, 1, description=said, metrics=metrics)


@pytest.mark.parametrize(
    ("found", "before", "objective", "reason"),
    [
        ({"loss": 0.1}, {"loss": 0.2}, Objective(), ""),
        ({"loss": 0.2}, {"loss": 0.2}, Objective(), "is not better than version 1: loss 0.2, that one's 0.2"),
        (
            {"loss": 0.1, "validation_loss": 0.4},
            {"loss": 0.2, "validation_loss": 0.3},
            Objective(),
            "validation_loss 0.4, that one's 0.3",
        ),
        ({"accuracy": 0.9}, {"accuracy": 0.8}, ACCURACY, ""),
        ({"accuracy": 0.8}, {"accuracy": 0.9}, ACCURACY, "accuracy 0.8, that one's 0.9"),
        ({"accuracy": 0.9}, {"accuracy": 0.8}, Objective("accuracy", True, min_delta=0.2), "is not better"),
        ({"loss": 0.1, "validation_loss": 0.3}, {"loss": 0.2}, Objective(), ""),
        # What is not measured is not better.
        ({"loss": 0.1}, {}, Objective(), "version 1 has no loss to be compared with"),
        # The validation loss was NaN: it is not in the version.
        ({"loss": 0.1}, {"loss": 0.2, "validation_loss": 9.0}, Objective(), "version 2 has no finite validation_loss"),
        ({"acc_1": 0.9}, {"acc_1": 0.8}, Objective("acc@1", higher_is_better=True), ""),
        ({"validation_acc_1": 0.7}, {"validation_acc_1": 0.8}, Objective("acc@1", True), "validation_acc_1 0.7"),
    ],
)
def test_better(found: dict[str, float], before: dict[str, float], objective: Objective, reason: str) -> None:
    said = shortfall(version("2", found), version("1", before), objective)
    assert bool(said) == bool(reason)
    assert reason in said


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("loss", "loss"),
        ("acc@1", "acc_1"),
        ("validation_top 5", "validation_top_5"),
        ("F1 (größer)", "F1__gr__er_"),
        ("@1", "1"),
        ("µ", "metric"),
        ("x" * 300, "x" * MAX_LENGTH),
    ],
)
def test_a_metric_has_a_name_that_the_registry_takes(name: str, known: str) -> None:
    assert check_name("metric", metric_name(name)) == known


def test_why_a_version_is_weights_alone() -> None:
    reason = "onnx: ValueError: a; b"
    assert weights_only(version("1", {}, description("job-1", 3, reason))) == reason
    assert weights_only(version("1", {}, description("job-1", 3))) == ""
    assert description("job-1", 3) == "trained by job job-1, seed 3"
    assert description("job-1", None) == "trained by job job-1"
