from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.datasets.columns import Column
from modelyard.datasets.delimited import CsvDataset
from modelyard.datasets.keyed import KeyedShards
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
        batches = list(shards.batches(shard, ["v"], block_rows=64))
        rows = [row for batch in batches for row in [*batch.rows.tolist(), *batch.failed]]
        assert {shard_of(b"%d" % (row % 37), 5) for row in rows} == {shard}
        assert all(batch.columns["v"].tolist() == batch.rows.tolist() for batch in batches)
        counted.append(len(rows))
    assert sum(counted) == 500
    assert shards.counts().tolist() == counted


def test_a_row_without_a_key_is_in_the_first_shard() -> None:
    dataset = CsvDataset(source("k,v\n1,1\n,2\n", "x.csv"))
    shards = KeyedShards(dataset, "k", 3)
    assert [list(batch.failed) for batch in shards.batches(0, ["v"]) if batch.failed] == [[1]]
    assert not any(batch.failed for shard in (1, 2) for batch in shards.batches(shard, ["v"]))
    assert shards.counts().sum() == 2
    with pytest.raises(InvalidInputError, match="at least 1 shard, got 0"):
        KeyedShards(dataset, "k", 0)
