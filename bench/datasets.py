"""Datasets of two sizes, read in batches: rows a second and peak memory, against a plain loop over the same file.

    python -m bench.datasets [--rows 100000] [--batch 1024]

Every figure is of a process of its own: the memory is what it grew by at its peak. `plain` is what one would write with
the library alone; `ours` opens the dataset (which for text is a pass over it), then reads; `results` writes each batch
as a piece, joins all pieces and reads the joined file by ranges. JSON on standard output.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq
from PIL import Image

from bench.processes import machine
from modelyard.datasets.assembly import join_npy, join_parquet
from modelyard.datasets.columns import Array, Column
from modelyard.datasets.dataset import Dataset
from modelyard.datasets.opening import open_dataset
from modelyard.datasets.pieces import NpyPiece, ParquetPiece
from modelyard.datasets.source import FileSource, Source, local

WIDTH = 64
PIECE_ROWS = 8192
RANGE_BYTES = 1 << 20
FILES = {"npy": "x.npy", "npz": "x.npz", "parquet": "x.parquet", "csv": "x.csv", "jsonl": "x.jsonl", "images": "images"}


def parts(rows: int) -> Iterator[Array]:
    """The rows of every dataset, some thousands at a time."""
    rng = np.random.default_rng(1)
    for begin in range(0, rows, 4096):
        yield rng.normal(size=(min(4096, rows - begin), WIDTH)).astype(np.float32)


def write(directory: Path, rows: int) -> None:
    """The same rows as every kind; images are a hundredth of them."""
    values = np.concatenate(list(parts(rows)))
    np.save(directory / FILES["npy"], values)
    np.savez_compressed(directory / FILES["npz"], x=values)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), WIDTH)
    pq.write_table(pa.table({"x": lists}), directory / FILES["parquet"], row_group_size=20_000)
    with (directory / FILES["csv"]).open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow([f"c{n}" for n in range(WIDTH)])
        writer.writerows(values.round(4).tolist())
    with (directory / FILES["jsonl"]).open("w") as out:
        out.writelines(json.dumps({"x": row}) + "\n" for row in values.round(4).tolist())
    (directory / "images").mkdir()
    for n in range(rows // 100):
        pixels = np.random.default_rng(n).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(directory / "images" / f"{n:06}.jpg")


def plain_npy(path: Path, batch: int) -> Iterator[Array]:
    """A memory map, copied batch by batch."""
    values = np.load(path, mmap_mode="r")
    return (np.array(values[begin : begin + batch]) for begin in range(0, len(values), batch))


def plain_npz(path: Path, batch: int) -> Iterator[Array]:
    """numpy reads a member as a whole."""
    with np.load(path) as archive:
        values = archive["x"]
    return (values[begin : begin + batch] for begin in range(0, len(values), batch))


def plain_parquet(path: Path, batch: int) -> Iterator[Array]:
    """Arrow's batches."""
    for found in pq.ParquetFile(path).iter_batches(batch, use_threads=False):
        yield found.column(0).flatten().to_numpy().reshape(-1, WIDTH)


def plain_csv(path: Path, batch: int) -> Iterator[Array]:
    """Arrow's stream, whose batches are as large as it likes."""
    del batch
    options = arrow_csv.ReadOptions(use_threads=False)
    with arrow_csv.open_csv(path, read_options=options) as stream:
        for found in stream:
            yield np.stack([column.to_numpy() for column in found.columns], axis=1)


def plain_jsonl(path: Path, batch: int) -> Iterator[Array]:
    """The standard library's parser."""
    rows: list[Any] = []
    with path.open() as lines:
        for line in lines:
            rows.append(json.loads(line)["x"])
            if len(rows) == batch:
                yield np.array(rows)
                rows = []
    if rows:
        yield np.array(rows)


def plain_images(path: Path, batch: int) -> Iterator[Array]:
    """Pillow, file by file."""
    files = sorted(path.iterdir())
    for begin in range(0, len(files), batch):
        yield np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files[begin : begin + batch]])


PLAIN: dict[str, Callable[[Path, int], Iterator[Array]]] = {
    "npy": plain_npy,
    "npz": plain_npz,
    "parquet": plain_parquet,
    "csv": plain_csv,
    "jsonl": plain_jsonl,
    "images": plain_images,
}


def in_order(dataset: Dataset, batch: int) -> Iterable[tuple[int, int]]:
    """All ranges, one after the other."""
    return [(begin, min(begin + batch, dataset.rows)) for begin in range(0, dataset.rows, batch)]


def ours(path: Path, batch: int) -> int:
    """Read a dataset of ours; return its rows."""
    dataset = open_dataset(local(path))
    return sum(len(part.rows) for part in dataset.batches(0, dataset.rows, batch))


def shuffled_shards(path: Path, batch: int) -> int:
    """Shards of PIECE_ROWS in any order, each read in batches, as workers do."""
    dataset = open_dataset(local(path))
    shards = list(in_order(dataset, PIECE_ROWS))
    read = 0
    for n in np.random.default_rng(2).permutation(len(shards)):
        begin, end = shards[n]
        read += sum(len(part.rows) for part in dataset.batches(begin, end, batch))
    return read


def plain(kind: str, path: Path, batch: int) -> int:
    """Read it with the library alone; return its rows."""
    return sum(len(values) for values in PLAIN[kind](path, batch))


def results(kind: str, path: Path, batch: int) -> int:
    """Write pieces of what an npy file has, join them and read that; return the rows."""
    dataset = open_dataset(local(path))
    column = Column("x", "FP32", (WIDTH,))
    pieces = []
    with tempfile.TemporaryDirectory() as scratch:
        for begin, end in in_order(dataset, PIECE_ROWS):
            file = Path(scratch) / str(begin)
            with file.open("wb") as out:
                writer = ParquetPiece([column], out) if kind == "parquet" else NpyPiece(column, out)
                for part in dataset.batches(begin, end, batch):
                    writer.write(part.columns)
                pieces.append((writer.finish(), file))
        found = [(piece, FileSource(file)) for piece, file in pieces]
        joined: Source = (
            join_parquet([file for _, file in found], "x") if kind == "parquet" else join_npy(column, found, "x")
        )
        for offset in range(0, joined.size_bytes, RANGE_BYTES):
            joined.read(offset, min(RANGE_BYTES, joined.size_bytes - offset))
    return sum(piece.rows for piece, _ in found)


def status_mib(field: str) -> float:
    """A figure of this process's memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(field))) / 1024


def measured(read: Callable[[], int]) -> dict[str, float]:
    """Rows a second, and what memory grew by."""
    Path("/proc/self/clear_refs").write_text("5")
    before_mib = status_mib("VmRSS")
    begin_s = time.perf_counter()
    rows = read()
    elapsed_s = time.perf_counter() - begin_s
    peak_mib = status_mib("VmHWM") - before_mib
    return {"rows": rows, "rows_per_s": round(rows / elapsed_s), "peak_mib": round(peak_mib, 1)}


WAYS: dict[str, Callable[[str, Path, int], int]] = {
    "plain": plain,
    "ours": lambda kind, path, batch: ours(path, batch),
    "ours_shuffled_shards": lambda kind, path, batch: shuffled_shards(path, batch),
    "results": results,
}


def apart(way: str, kind: str, path: Path, batch: int) -> dict[str, float]:
    """Measure in a process of its own."""
    command = [sys.executable, "-m", "bench.datasets", "--measure", way, kind, str(path), "--batch", str(batch)]
    found: dict[str, float] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return found


def sized(rows: int, batch: int) -> list[dict[str, Any]]:
    """All kinds of one size."""
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        write(directory, rows)
        found = []
        for kind, file in FILES.items():
            at = directory / file
            row: dict[str, Any] = {"kind": kind, "rows": rows}
            for way in ("plain", "ours", "ours_shuffled_shards"):
                row[way] = apart(way, kind, at, batch)
            row["speed_to_plain"] = round(row["ours"]["rows_per_s"] / row["plain"]["rows_per_s"], 2)
            found.append(row)
        made = partial(apart, "results", path=directory / FILES["npy"], batch=batch)
        return [
            *found,
            *({"kind": f"results as {kind}", "rows": rows, "ours": made(kind=kind)} for kind in ("npy", "parquet")),
        ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--measure", nargs=3, metavar=("WAY", "KIND", "PATH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        way, kind, path = options.measure
        print(json.dumps(measured(lambda: WAYS[way](kind, Path(path), options.batch))))
        return
    sizes = (options.rows, options.rows * 4)
    print(
        json.dumps(
            {"machine": machine(), "rows": [row for size in sizes for row in sized(size, options.batch)]}, indent=1
        )
    )


if __name__ == "__main__":
    main()
