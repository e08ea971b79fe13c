from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from modelyard.errors import InvalidInputError
from modelyard.train.options import TrainingOptions


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"epochs": 0}, "epochs to be a whole number of at least 1, got 0"),
        ({"epochs": 1, "steps": 1}, "epochs or steps, got both"),
        ({"steps": 1.5}, "steps to be a whole number"),
        ({"batch_size": True}, "batch_size to be a whole number"),
        ({"accumulation": 0}, "accumulation"),
        ({"precision": "fp16"}, "precision to be one of fp32, bf16; got 'fp16'"),
        ({"mode": "most"}, "mode to be one of min, max"),
        ({"min_delta": float("nan")}, "min_delta of at least 0, got nan"),
        ({"patience": -1}, "patience"),
        ({"seed": -1}, "seed"),
        ({"keep_last": 0}, "keep_last"),
        ({"checkpoint_steps": -1}, "checkpoint_steps"),
    ],
)
def test_what_makes_no_sense_is_refused(values: dict[str, Any], expected: str) -> None:
    with pytest.raises(InvalidInputError, match=expected):
        TrainingOptions(**values)


def test_steps_in_all() -> None:
    assert TrainingOptions(batch_size=4).total_steps(9) == 3
    assert TrainingOptions(batch_size=3, epochs=2).total_steps(9) == 6
    assert TrainingOptions(batch_size=3, steps=5).total_steps(9) == 5


def test_torch_is_loaded_only_for_training() -> None:
    code = (
        "import sys, modelyard, modelyard.train.options, modelyard.train.order, modelyard.train.position\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
