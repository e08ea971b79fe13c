"""Datasets of every kind with the same rows."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from modelyard.datasets.assembly import MemorySource
from modelyard.datasets.columns import Array

ROWS = 230
Columns = dict[str, Array]


def text(values: list[str]) -> Array:
    array = np.empty(len(values), object)
    array[:] = [value.encode() for value in values]
    return array


def table() -> Columns:
    rng = np.random.default_rng(7)
    names = ["", "plain", 'with "quotes"', "two\nlines", "comma, here", "Zürich"]
    return {
        "count": rng.integers(-(2**40), 2**40, ROWS),
        "share": rng.normal(size=ROWS),
        "name": text([names[n] for n in rng.integers(0, len(names), ROWS)]),
    }


def vectors() -> Columns:
    return {"v": np.random.default_rng(8).normal(size=(ROWS, 2, 3)), "n": np.arange(ROWS)}


def write_npy(path: Path) -> Columns:
    columns = {"x": np.arange(ROWS * 6, dtype=np.float32).reshape(ROWS, 2, 3)}
    np.save(path / "x.npy", columns["x"])
    return columns


def write_npz(path: Path) -> Columns:
    columns: Columns = {"a": np.arange(ROWS), "b": np.arange(ROWS * 4, dtype=np.uint8).reshape(ROWS, 4)}
    np.savez(path / "x.npz", a=columns["a"], b=columns["b"])
    return columns


def write_npz_compressed(path: Path) -> Columns:
    columns = write_npz(path)
    np.savez_compressed(path / "x.npz", a=columns["a"], b=columns["b"])
    return columns


def write_parquet(path: Path) -> Columns:
    columns = table() | vectors()
    arrays = {name: pa.array(values.tolist()) for name, values in columns.items()}
    pq.write_table(pa.table(arrays), path / "x.parquet", row_group_size=41)
    return columns


def write_csv(path: Path) -> Columns:
    columns = table()
    with (path / "x.csv").open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(columns)
        for row in range(ROWS):
            writer.writerow([plain(values[row]) for values in columns.values()])
    return columns


def write_jsonl(path: Path) -> Columns:
    columns = table() | vectors()
    lines = [json.dumps({name: plain(values[row]) for name, values in columns.items()}) for row in range(ROWS)]
    (path / "x.jsonl").write_text("\n".join(lines))
    return columns


def write_images(path: Path) -> Columns:
    (path / "x").mkdir()
    pixels = np.random.default_rng(9).integers(0, 256, (12, 5, 4, 3), dtype=np.uint8)
    paths = [f"{n:02}.png" for n in range(len(pixels))]
    for name, one in zip(paths, pixels, strict=True):
        Image.fromarray(one).save(path / "x" / name)
    return {"image": pixels, "path": text(paths)}


def plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    return value.tolist() if hasattr(value, "tolist") else value


KINDS: dict[str, tuple[str, Callable[[Path], Columns]]] = {
    "npy": ("x.npy", write_npy),
    "npz": ("x.npz", write_npz),
    "npz compressed": ("x.npz", write_npz_compressed),
    "parquet": ("x.parquet", write_parquet),
    "csv": ("x.csv", write_csv),
    "jsonl": ("x.jsonl", write_jsonl),
    "images": ("x", write_images),
}


def source(data: bytes | str, name: str) -> MemorySource:
    return MemorySource(data.encode() if isinstance(data, str) else data, name)
