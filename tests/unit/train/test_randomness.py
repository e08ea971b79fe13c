from __future__ import annotations

import random

import numpy as np
import torch

from modelyard.train.randomness import seed


def draws(*numbers: int) -> tuple[float, float, float]:
    seed("test", *numbers)
    return torch.rand(1).item(), float(np.random.random()), random.random()


def test_numbers_decide_what_is_drawn() -> None:
    first = draws(1, 2)
    assert draws(1, 2) == first
    assert all(one != other for one, other in zip(first, draws(2, 1), strict=True))
