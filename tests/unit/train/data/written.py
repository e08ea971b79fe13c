"""One table in every kind of file."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from modelyard.datasets.columns import Array

ROWS = 500
GROUP = 70


def columns() -> dict[str, Array]:
    rng = np.random.default_rng(3)
    return {
        "a": rng.normal(size=ROWS),
        "b": rng.integers(-5, 5, ROWS),
        "y": rng.integers(0, 3, ROWS),
    }


def write(directory: Path, kind: str) -> Path:
    """Write the columns as a file of a kind; return where it is."""
    path = directory / f"table.{kind}"
    table = columns()
    rows = list(zip(*(values.tolist() for values in table.values()), strict=True))
    if kind == "npz":
        np.savez(path, **table)  # type: ignore[arg-type]
    elif kind == "parquet":
        pq.write_table(pa.table({name: pa.array(values) for name, values in table.items()}), path, row_group_size=GROUP)
    elif kind == "csv":
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([list(table), *rows])
    else:
        path.write_text("".join(json.dumps(dict(zip(table, row, strict=True))) + "\n" for row in rows))
    return path
