"""What holds for every kind."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.datasets import blocks, parquet
from modelyard.datasets.columns import Batch
from modelyard.datasets.dataset import Dataset
from modelyard.datasets.opening import open_dataset
from modelyard.datasets.source import local
from modelyard.errors import InvalidInputError
from tests.unit.datasets.written import KINDS, Columns


@pytest.fixture(scope="module", params=KINDS)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Columns]:
    file, write = KINDS[request.param]
    directory = tmp_path_factory.mktemp("dataset")
    columns = write(directory)
    with pytest.MonkeyPatch.context() as patch:  # so that these few rows are many blocks
        patch.setattr(blocks, "BLOCK_BYTES", 700)
        patch.setattr(parquet, "BATCH_BYTES", 900)
        return open_dataset(local(directory / file)), columns


def same(found: Columns, expected: Columns) -> None:
    assert list(found) == list(expected)
    for name, values in expected.items():
        assert found[name].dtype == values.dtype
        np.testing.assert_array_equal(found[name], values)


def test_all_of_it_is_what_was_written(written: tuple[Dataset, Columns]) -> None:
    dataset, columns = written
    same(dataset.read(0, dataset.rows), columns)
    assert [column.shape for column in dataset.columns] == [values.shape[1:] for values in columns.values()]


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_any_ranges_in_any_order_are_parts_of_all(written: tuple[Dataset, Columns], data: st.DataObject) -> None:
    dataset, columns = written
    numbers = st.integers(0, dataset.rows)
    some = st.lists(st.sampled_from(list(columns)), unique=True, min_size=1)
    for ends, names in data.draw(st.lists(st.tuples(st.tuples(numbers, numbers), some), min_size=1, max_size=6)):
        begin, end = sorted(ends)
        same(dataset.read(begin, end, names), {name: columns[name][begin:end] for name in names})


@settings(max_examples=3, deadline=None)
@given(st.integers(1, 300))
def test_batches_are_all_rows_in_order(written: tuple[Dataset, Columns], size: int) -> None:
    dataset, columns = written
    found = list(dataset.batches(0, dataset.rows, size))
    assert [row for batch in found for row in batch.rows] == list(range(dataset.rows))
    same({name: np.concatenate([batch.columns[name] for batch in found]) for name in columns}, columns)


@pytest.mark.parametrize(("begin", "end"), [(-1, 1), (3, 2), (0, 10_000)])
def test_rows_that_are_not_there_are_refused(written: tuple[Dataset, Columns], begin: int, end: int) -> None:
    with pytest.raises(InvalidInputError, match=rf"expected rows within 0\.\.{written[0].rows}, got {begin}\.\.{end}"):
        written[0].read(begin, end)


def test_an_unknown_column_is_refused_with_those_that_there_are(written: tuple[Dataset, Columns]) -> None:
    dataset, columns = written
    with pytest.raises(InvalidInputError, match=f"{next(iter(columns))!r}.*got 'nope'"):
        dataset.read(0, 1, ["nope"])


def test_reading_all_names_the_first_row_that_failed() -> None:
    batch = Batch(np.array([4, 6]), {"a": np.array([1.0, 2.0])}, {7: "late", 5: "no value"})
    with pytest.raises(InvalidInputError, match=r"^row 5: no value \(and 1 more rows\)$"):
        batch.whole()
    less = batch.without({4: "bad"})
    assert less.rows.tolist() == [6]
    assert less.columns["a"].tolist() == [2.0]
    assert sorted(less.failed) == [4, 5, 7]
