"""Made-up signals as two files: python -m examples.regression.data DIRECTORY."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
LENGTH = 100
WAVES = 6
NOISE = 0.5
"""The standard deviation of what is added to signals, whose own is 1."""


def write(directory: Path, seed: int = 0) -> tuple[Path, Path]:
    """Write train.npz with 2,000 signals, and held_out.npz with 400.

    Both have `clean`, sums of some waves, and `noisy`, FP32 [n, 100] each.
    """
    random = np.random.default_rng(seed)
    paths = directory / "train.npz", directory / "held_out.npz"
    for path, count in zip(paths, (2_000, 400), strict=True):
        clean = _waves(random, count)
        noisy = clean + random.normal(scale=NOISE, size=clean.shape)
        np.savez(path, clean=clean.astype(np.float32), noisy=noisy.astype(np.float32))
    return paths


def _waves(random: np.random.Generator, count: int) -> Floats:
    """The first waves that fit into the length, each with an amplitude and a phase of its own: [count, LENGTH]."""
    places = np.arange(LENGTH) / LENGTH
    angles = 2 * np.pi * np.arange(1, WAVES + 1)[:, None] * places
    amplitudes = random.normal(size=(2, count, WAVES)) / WAVES**0.5
    signals: Floats = amplitudes[0] @ np.sin(angles) + amplitudes[1] @ np.cos(angles)
    return signals


if __name__ == "__main__":
    for written in write(Path(sys.argv[1])):
        print(written)
