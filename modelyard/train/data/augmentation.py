"""Variants of images [C, H, W], for a recipe's `augment`: random numbers come from the generator alone."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional


def flip(image: torch.Tensor, generator: np.random.Generator) -> torch.Tensor:
    """Mirror left and right, in half of all cases."""
    return image.flip(-1) if generator.random() < 0.5 else image


def crop(image: torch.Tensor, generator: np.random.Generator, padding: int) -> torch.Tensor:
    """Move by at most `padding` pixels in each direction; what is beyond the edge is 0."""
    height, width = image.shape[-2:]
    padded = functional.pad(image, (padding, padding, padding, padding))
    top, left = generator.integers(0, 2 * padding + 1, 2).tolist()
    return padded[..., top : top + height, left : left + width]


def brightness(image: torch.Tensor, generator: np.random.Generator, strength: float) -> torch.Tensor:
    """Multiply pixels of a floating-point image with a factor of 1 - strength ... 1 + strength."""
    return image * (1 + strength * (2 * generator.random() - 1))
