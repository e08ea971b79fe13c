"""scikit-learn's 1,797 handwritten digits as two files: python -m examples.digits.data DIRECTORY."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

BRIGHTEST = 16


def write(directory: Path, seed: int = 0) -> tuple[Path, Path]:
    """Write train.npz and held_out.npz, of which the latter has a fifth.

    Both have `pixels` FP32 [n, 64], from 0 to 1, and `digit` INT64 [n].
    """
    pixels, digit = load_digits(return_X_y=True)
    parts = train_test_split(np.arange(len(digit)), test_size=0.2, random_state=seed, stratify=digit)
    paths = directory / "train.npz", directory / "held_out.npz"
    for path, rows in zip(paths, parts, strict=True):
        np.savez(path, pixels=(pixels[rows] / BRIGHTEST).astype(np.float32), digit=digit[rows].astype(np.int64))
    return paths


if __name__ == "__main__":
    for written in write(Path(sys.argv[1])):
        print(written)
