from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from modelyard.catalogue import Signature, TensorSpec
from modelyard.datasets.mapping import bind
from modelyard.datasets.opening import open_dataset
from modelyard.datasets.sharding import shard_of
from modelyard.datasets.source import FileSource
from modelyard.jobs.tasks import Shards, TaskSpec
from modelyard_worker.jobs.reader.faults import MOST_REASON, MOST_ROWS, Faults
from modelyard_worker.jobs.reader.portions import Portion
from modelyard_worker.jobs.reader.reading import Opened, portions_of
from modelyard_worker.jobs.reader.sizes import Sizes

SIGNATURE = Signature((TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("y", "FP32", (-1, 2)),))


def opened(directory: Path, rows: int, *, bad: tuple[int, ...] = ()) -> Opened:
    """Column x [2], which is row and 1; key k, which is "k{row}"; of bad rows x has no value."""
    lists = [None if row in bad else [float(row), 1.0] for row in range(rows)]
    table = pa.table({"x": pa.array(lists, pa.list_(pa.float32(), 2)), "k": [f"k{row}" for row in range(rows)]})
    pq.write_table(table, directory / "rows.parquet", row_group_size=100)
    dataset = open_dataset(FileSource(directory / "rows.parquet"))
    return Opened(dataset, bind(dataset, SIGNATURE), "k", "k")


def sized(rows: int) -> Sizes:
    sizes = Sizes()
    sizes.rows = rows
    return sizes


def check(portion: Portion) -> None:
    """Its columns are those of its rows."""
    assert portion.inputs["x"].tolist() == [[float(row), 1.0] for row in portion.rows]
    assert portion.key is not None
    assert portion.key.tolist() == [b"k%d" % row for row in portion.rows]


def test_rows_come_in_order_in_portions_of_as_many_as_are_wanted_now(tmp_path: Path) -> None:
    sizes, faults, seen = sized(7), Faults(), []
    for portion in portions_of(TaskSpec(3, 60), opened(tmp_path, 100), faults, sizes):
        check(portion)
        seen.append((portion.positions.tolist()[0], len(portion)))
        sizes.rows = 30
    assert seen == [(3, 7), (10, 30), (40, 20)]
    assert not faults


def test_of_rows_that_cannot_be_read_the_task_hears_which_they_are(tmp_path: Path) -> None:
    faults = Faults()
    found = list(portions_of(TaskSpec(10, 30), opened(tmp_path, 40, bad=(5, 12, 29)), faults, sized(8)))
    assert np.concatenate([p.rows for p in found]).tolist() == [r for r in range(10, 30) if r not in (12, 29)]
    for portion in found:
        check(portion)
        assert portion.positions.tolist() == portion.rows.tolist()
    assert (faults.positions, faults.permanent) == ((12, 29), True)
    assert faults.reason.startswith("row 12: column 'x': has no value")


def test_rows_that_the_model_cannot_take_are_left_out_with_their_keys(tmp_path: Path) -> None:
    values = [float(row) if row != 4 else 1e300 for row in range(10)]
    table = pa.table({"a": values, "b": [1.0] * 10, "k": [f"k{row}" for row in range(10)]})
    pq.write_table(table, tmp_path / "rows.parquet")
    dataset = open_dataset(FileSource(tmp_path / "rows.parquet"))
    bound = bind(dataset, SIGNATURE, {"x": ("a", "b")}, cast=True)
    faults = Faults()
    (portion,) = portions_of(TaskSpec(0, 10), Opened(dataset, bound, key="k"), faults, sized(64))
    check(portion)
    assert portion.positions.tolist() == portion.rows.tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert faults.positions == (4,)
    assert "column 'a' has 1e+300, which FP32 has not" in faults.reason


@pytest.mark.parametrize("begin", [0, 5])
def test_rows_of_shards_are_counted_as_the_task_counts_them(tmp_path: Path, begin: int) -> None:
    of = 4
    own = [row for row in range(300) if shard_of(b"k%d" % row, of) in (1, 2)]
    bad = (own[7], own[20])
    task = TaskSpec(begin, len(own) - 3, Shards(1, 3, of))
    faults = Faults()
    found = list(portions_of(task, opened(tmp_path, 300, bad=bad), faults, sized(16)))
    wanted = [n for n in range(begin, len(own) - 3) if own[n] not in bad]
    assert np.concatenate([p.positions for p in found]).tolist() == wanted
    assert np.concatenate([p.rows for p in found]).tolist() == [own[n] for n in wanted]
    assert {len(p) for p in found[:-1]} == {16}
    for portion in found:
        check(portion)
    assert faults.positions == (7, 20)
    assert faults.reason.startswith(f"row {own[7]}: ")


def test_rows_that_do_not_fill_a_call_are_at_fault(tmp_path: Path) -> None:
    faults = Faults()
    found = list(portions_of(TaskSpec(2, 20), opened(tmp_path, 40, bad=(3,)), faults, Sizes(exact=8)))
    assert [p.rows.tolist() for p in found] == [[2, *range(4, 11)], list(range(11, 19))]
    assert (faults.positions, faults.permanent) == ((3, 19), True)
    faults = Faults()
    assert list(portions_of(TaskSpec(0, 3), opened(tmp_path, 40), faults, Sizes(exact=8))) == []
    assert faults.positions == (0, 1, 2)
    assert faults.reason.startswith("row 0: the model takes 8 rows a call")


def test_only_so_many_faults_are_looked_for(tmp_path: Path) -> None:
    rows = 2 * MOST_ROWS
    faults = Faults()
    assert not faults
    found = list(portions_of(TaskSpec(0, rows), opened(tmp_path, rows, bad=tuple(range(1, rows))), faults, sized(10)))
    assert faults.positions == tuple(range(1, MOST_ROWS + 1))
    assert sum(map(len, found)) == 1
    faults.note(0, 0, "one more")
    assert len(faults.positions) == MOST_ROWS


def test_reasons_are_those_of_the_first_row_and_not_long() -> None:
    faults = Faults()
    for row in (5, 3, 4):
        faults.note(row, row + 10, f"{row}" * 1000)
    assert (len(faults.reason), faults.reason[:9]) == (MOST_REASON, "row 13: 3")
    assert (faults.positions, faults.permanent, faults.full) == ((3, 4, 5), False, False)
