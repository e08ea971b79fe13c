from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.datasets.columns import Batch, Column
from modelyard.datasets.delimited import CsvDataset
from modelyard.datasets.keyed import KeyedShards, part_of
from modelyard.datasets.sharding import Sizing, check_key, count_ranges, ranges, shard_of, shards_of
from modelyard.errors import InvalidInputError
from tests.unit.datasets.written import source, text


@given(st.integers(0, 500), st.integers(0, 500), st.integers(1, 600))
def test_ranges_are_all_rows_and_of_one_size(begin: int, rows: int, size: int) -> None:
    found = list(ranges(begin, begin + rows, size))
    assert [row for one in found for row in range(*one)] == list(range(begin, begin + rows))
    assert len(found) == count_ranges(begin, begin + rows, size)
    sizes = {end - start for start, end in found}
    assert not sizes or (max(sizes) <= size and max(sizes) - min(sizes) <= 1)


def test_there_are_no_tasks_of_no_rows() -> None:
    with pytest.raises(InvalidInputError, match="at least 1 row a task, got 0"):
        list(ranges(0, 9, 0))


@pytest.mark.parametrize(
    ("seconds_per_row", "rows", "workers", "expected"),
    [
        (0.0, 10**6, 1, 64),
        (0.001, 10**6, 2, 2500),
        (0.001, 3000, 2, 1500),
        (0.001, 3000, 8, 1000),
        (60.0, 10, 1, 1),
        (1e-12, 10**9, 1, 1 << 18),
    ],
)
def test_a_task_takes_some_seconds(seconds_per_row: float, rows: int, workers: int, expected: int) -> None:
    assert Sizing().rows_a_task(seconds_per_row, rows, workers) == expected


def test_the_hash_is_what_it_says() -> None:
    # XXH3-64 of nothing with seed 0, as the reference implementation has it.
    assert shard_of(b"", 1 << 64) == 0x2D06800538D394C2
    keys = shards_of(np.array([7, -12]), 1000)
    assert (
        keys.tolist() == [shard_of(b"7", 1000), shard_of(b"-12", 1000)] == shards_of(text(["7", "-12"]), 1000).tolist()
    )
    assert shards_of(np.array([True, False]), 9).tolist() == [shard_of(b"1", 9), shard_of(b"0", 9)]


def test_keys_spread_evenly() -> None:
    counts = np.bincount(shards_of(np.arange(100_000), 20), minlength=20)
    assert counts.min() > 4700
    assert counts.max() < 5300


@pytest.mark.parametrize("column", [Column("k", "FP32"), Column("k", "INT64", (2,)), Column("k", "BF16")])
def test_fractions_and_vectors_are_no_keys(column: Column) -> None:
    with pytest.raises(InvalidInputError, match="expected a key of"):
        check_key(column)


def test_every_row_is_in_the_shard_of_its_key() -> None:
    lines = [f"{n % 37},{n if n % 11 else ''}" for n in range(500)]
    dataset = CsvDataset(source("k,v\n" + "\n".join(lines), "x.csv"))
    shards = KeyedShards(dataset, "k", 5)
    counted = []
    for shard in range(5):
        batches = list(shards.batches(shard, shard + 1, ["v"], block_rows=64))
        rows = [row for batch in batches for row in [*batch.rows.tolist(), *batch.failed]]
        assert {shard_of(b"%d" % (row % 37), 5) for row in rows} == {shard}
        assert all(batch.columns["v"].tolist() == batch.rows.tolist() for batch in batches)
        counted.append(len(rows))
    assert sum(counted) == 500
    assert shards.counts().tolist() == counted


def rows_of(batches: Iterable[Batch]) -> list[int]:
    """All rows, also those that have failed, in their order; values are checked."""
    found: list[int] = []
    for batch in batches:
        assert batch.columns["v"].tolist() == batch.rows.tolist()
        found += sorted([*batch.rows.tolist(), *batch.failed])
    return found


class Counted(CsvDataset):
    """A dataset that tells how often it is read, and how far."""

    passes = 0
    last_row = 0

    def batches(self, begin: int, end: int, rows_at_a_time: int, names: Sequence[str] | None = None) -> Iterator[Batch]:
        self.passes += 1
        for batch in super().batches(begin, end, rows_at_a_time, names):
            self.last_row = int(batch.rows[-1])
            yield batch


def of_keys() -> tuple[Counted, KeyedShards]:
    """500 rows with 37 keys, some of which cannot be read, in 8 shards."""
    lines = [f"{n % 37 if n % 50 else ''},{n if n % 11 else ''}" for n in range(500)]
    dataset = Counted(source("k,v\n" + "\n".join(lines), "x.csv"))
    return dataset, KeyedShards(dataset, "k", 8)


@pytest.mark.parametrize(("begin", "end"), [(0, 8), (0, 3), (2, 7), (7, 8)])
def test_several_shards_are_read_in_one_pass(begin: int, end: int) -> None:
    dataset, shards = of_keys()
    apart = [rows_of(shards.batches(shard, shard + 1, ["v"], 64)) for shard in range(begin, end)]
    before = dataset.passes
    found = rows_of(shards.batches(begin, end, ["v"], 64))
    assert dataset.passes == before + 1
    assert found == sorted(row for rows in apart for row in rows)
    assert len(found) == shards.counts()[begin:end].sum()


@pytest.mark.parametrize(("begin", "end"), [(0, 0), (3, 2), (-1, 2), (7, 9)])
def test_shards_that_there_are_not(begin: int, end: int) -> None:
    with pytest.raises(InvalidInputError, match=r"expected shards in 0\.\.8"):
        list(of_keys()[1].batches(begin, end, ["v"]))


@pytest.mark.parametrize(
    ("begin", "end"), [(0, 0), (0, 1), (0, 300), (9, 10), (30, 31), (17, 80), (100, 300), (290, 300)]
)
def test_a_part_of_the_rows_of_shards(begin: int, end: int) -> None:
    dataset, shards = of_keys()
    whole = rows_of(shards.batches(2, 6, ["v"], 64))
    found = rows_of(part_of(shards.batches(2, 6, ["v"], 64), begin, end))
    assert found == whole[begin:end]
    if found:
        assert dataset.last_row < max(found) + 128


def test_a_row_without_a_key_is_in_the_first_shard() -> None:
    dataset = CsvDataset(source("k,v\n1,1\n,2\n", "x.csv"))
    shards = KeyedShards(dataset, "k", 3)
    assert [list(batch.failed) for batch in shards.batches(0, 1, ["v"]) if batch.failed] == [[1]]
    assert not any(batch.failed for shard in (1, 2) for batch in shards.batches(shard, shard + 1, ["v"]))
    assert shards.counts().sum() == 2
    with pytest.raises(InvalidInputError, match="at least 1 shard, got 0"):
        KeyedShards(dataset, "k", 0)
