"""The rows of shards of keys, wherever they are in the file.

Whoever reads shards passes over the whole file once, a block at a time, and keeps their rows: use few shards, or tasks
of several. How many rows each shard has, one pass over the keys tells for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from modelyard.datasets.columns import Array, Batch
from modelyard.datasets.dataset import Dataset
from modelyard.datasets.sharding import check_key, shards_of
from modelyard.errors import InvalidInputError

BLOCK_ROWS = 4096


class KeyedShards:
    """A dataset cut by the hash of a column."""

    def __init__(self, dataset: Dataset, key: str, shards: int) -> None:
        """Take a column for the key.

        Raises:
            InvalidInputError: there is no such column, or it can be no key, or there is to be no shard.
        """
        check_key(dataset.column(key))
        if shards < 1:
            raise InvalidInputError(f"expected at least 1 shard, got {shards}")
        self._dataset = dataset
        self._key = key
        self.shards = shards

    def counts(self, moved: Callable[[], None] = lambda: None) -> Array:
        """How many rows each shard has, INT64 [shards], in one pass over the keys; `moved` is called as it gets on."""
        found = np.zeros(self.shards, np.int64)
        for batch in self._dataset.batches(0, self._dataset.rows, BLOCK_ROWS, [self._key]):
            found += np.bincount(shards_of(batch.columns[self._key], self.shards), minlength=self.shards)
            found[0] += len(batch.failed)
            moved()
        return found

    def batches(self, begin: int, end: int, names: Sequence[str], block_rows: int = BLOCK_ROWS) -> Iterator[Batch]:
        """Yield the rows of shards [begin, end) with some columns, ascending, from `block_rows` of the file at a time.

        A row whose key cannot be read belongs to shard 0, and has failed.

        Raises:
            InvalidInputError: there are no such shards.
        """
        if not 0 <= begin < end <= self.shards:
            raise InvalidInputError(f"{self._dataset.name}: expected shards in 0..{self.shards}, got {begin}..{end}")
        wanted = list(dict.fromkeys([self._key, *names]))
        for batch in self._dataset.batches(0, self._dataset.rows, block_rows, wanted):
            shards = shards_of(batch.columns[self._key], self.shards)
            own = batch.at((begin <= shards) & (shards < end))
            failed = {row: why for row, why in batch.failed.items() if begin <= self._shard_of_row(row) < end}
            if len(own.rows) or failed:
                yield Batch(own.rows, {name: own.columns[name] for name in names}, failed)

    def _shard_of_row(self, row: int) -> int:
        """The shard of a row that cannot be read as a whole."""
        keys = self._dataset.batch(row, row + 1, [self._key]).columns[self._key]
        return int(shards_of(keys, self.shards)[0]) if len(keys) else 0


def part_of(batches: Iterable[Batch], begin: int, end: int) -> Iterator[Batch]:
    """Yield rows [begin, end) of what batches have together, counted with those that have failed, and read no further.

    A task of shards that was split has such a part of their rows.
    """
    at = 0
    for batch in batches:
        rows = np.sort(np.concatenate([batch.rows, np.fromiter(batch.failed, np.int64)]))
        own = rows[max(begin - at, 0) : max(end - at, 0)]
        if len(own):
            failed = {row: why for row, why in batch.failed.items() if own[0] <= row <= own[-1]}
            kept = batch.at((own[0] <= batch.rows) & (batch.rows <= own[-1]))
            yield Batch(kept.rows, kept.columns, failed)
        at += len(rows)
        if at >= end:
            return
