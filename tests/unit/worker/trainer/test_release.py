"""Whether a version is better than another one."""

from __future__ import annotations

import pytest

from modelyard.jobs.training import Objective
from modelyard_worker.trainer.release import is_better


@pytest.mark.parametrize(
    ("found", "before", "objective", "better"),
    [
        ({"loss": 0.1}, {"loss": 0.2}, Objective(), True),
        ({"loss": 0.2}, {"loss": 0.2}, Objective(), False),
        ({"loss": 0.1, "validation_loss": 0.4}, {"loss": 0.2, "validation_loss": 0.3}, Objective(), False),
        ({"accuracy": 0.9}, {"accuracy": 0.8}, Objective("accuracy", higher_is_better=True), True),
        ({"accuracy": 0.9}, {"accuracy": 0.8}, Objective("accuracy", higher_is_better=True, min_delta=0.2), False),
        ({"loss": 0.1}, {}, Objective(), True),
    ],
)
def test_better(found: dict[str, float], before: dict[str, float], objective: Objective, *, better: bool) -> None:
    assert is_better(found, before, objective) is better
