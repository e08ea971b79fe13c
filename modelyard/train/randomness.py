"""Random numbers follow from where they are needed: they are no state."""

from __future__ import annotations

import random

import numpy as np
import torch

from modelyard.train.order import key


def seed(purpose: str, *numbers: int) -> None:
    """Seed torch, numpy and Python's random with bits that differ for each purpose and numbers."""
    bits = key(purpose, *numbers)
    # Not torch.manual_seed: for devices that are not in use it notes the seed with a stack trace, which takes 1 ms.
    torch.default_generator.manual_seed(bits >> 64)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(bits >> 64)
    np.random.seed(bits & 0xFFFFFFFF)
    random.seed(bits)
