"""scikit-learn's breast-cancer data as two files: python -m examples.tabular.data DIRECTORY."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split


def write(directory: Path, seed: int = 0) -> tuple[Path, Path]:
    """Write train.csv with 455 rows, and held_out.csv with 114: 30 measurements each, and the diagnosis.

    Of ten tumours about four are malignant.
    """
    data = load_breast_cancer()
    names = [name.replace(" ", "_") for name in data.feature_names]
    diagnoses = data.target_names[data.target]
    parts = train_test_split(range(len(diagnoses)), test_size=0.2, random_state=seed, stratify=diagnoses)
    paths = directory / "train.csv", directory / "held_out.csv"
    for path, rows in zip(paths, parts, strict=True):
        with path.open("w", newline="") as file:
            lines = csv.writer(file, lineterminator="\n")
            lines.writerow([*names, "diagnosis"])
            lines.writerows([*data.data[row].tolist(), diagnoses[row]] for row in rows)
    return paths


if __name__ == "__main__":
    for written in write(Path(sys.argv[1])):
        print(written)
