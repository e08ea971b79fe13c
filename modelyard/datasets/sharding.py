"""How rows become tasks. Pure: numbers in, ranges out.

Either each task has a range of rows, or all rows whose key has the same hash. The hash is XXH3-64 with seed 0, as for
placement, of the key's bytes: BYTES as they are (text in UTF-8), whole numbers in decimal, BOOL as 0 and 1. Of `shards`
shards a key belongs to number hash * shards // 2^64, the same for ever and everywhere; distinct keys spread evenly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xxhash

from modelyard.datasets.columns import Array, Column
from modelyard.errors import InvalidInputError


@dataclass(frozen=True)
class Sizing:
    """How large tasks are to be.

    Attributes:
        target_s: how long one is to take.
        shortest_s: it is not made shorter than this for there to be one for everybody.
        probe_rows: rows of a task while it is not known how long a row takes.
        most_rows: that a task may have; it has one at least.
    """

    target_s: float = 2.5
    shortest_s: float = 1.0
    probe_rows: int = 64
    most_rows: int = 1 << 18

    def rows_a_task(self, seconds_per_row: float, rows: int, workers: int = 1) -> int:
        """How many rows a task gets.

        Args:
            seconds_per_row: as measured; 0: not known.
            rows: of the whole job.
            workers: among whom they are shared: each is to have a task, if tasks do not become too short by that.
        """
        if seconds_per_row <= 0.0:
            return min(self.probe_rows, self.most_rows)
        share = max(math.ceil(rows / max(workers, 1)), self._rows_in(self.shortest_s, seconds_per_row))
        return max(min(self._rows_in(self.target_s, seconds_per_row), share), 1)

    def _rows_in(self, seconds: float, seconds_per_row: float) -> int:
        return math.ceil(min(seconds / seconds_per_row, self.most_rows))


def count_ranges(begin: int, end: int, rows_a_task: int) -> int:
    """How many ranges there are.

    Raises:
        InvalidInputError: the size is not positive.
    """
    if rows_a_task < 1:
        raise InvalidInputError(f"expected at least 1 row a task, got {rows_a_task}")
    return -(-(end - begin) // rows_a_task)


def ranges(begin: int, end: int, rows_a_task: int) -> Iterator[tuple[int, int]]:
    """Cut rows [begin, end) into as few ranges as hold so many each, whose sizes differ by one row at most.

    Raises:
        InvalidInputError: as count_ranges.
    """
    count = count_ranges(begin, end, rows_a_task)
    at = begin
    for left in range(count, 0, -1):
        size = -(-(end - at) // left)
        yield at, at + size
        at += size


def check_key(column: Column) -> None:
    """Raise InvalidInputError if a column cannot be a key: it is no scalar, or of fractions."""
    if column.shape or column.datatype.startswith(("FP", "BF")):
        raise InvalidInputError(f"expected a key of BYTES, whole numbers or BOOL, one a row; got column {column}")


def shard_of(key: bytes, shards: int) -> int:
    """The shard that a key belongs to, of so many."""
    return int(xxhash.xxh3_64_intdigest(key)) * shards >> 64


def shards_of(keys: Array, shards: int) -> Array:
    """The shard of each key, INT64 [rows]; keys are BYTES, whole numbers or BOOL [rows]."""
    return np.fromiter((shard_of(key, shards) for key in key_bytes(keys)), np.int64, len(keys))


def key_bytes(keys: Array) -> Iterator[bytes]:
    """What is hashed of each key."""
    if keys.dtype.kind == "O":
        return (key if isinstance(key, bytes) else str(key).encode() for key in keys.tolist())
    whole = keys.astype(np.uint8) if keys.dtype.kind == "b" else keys
    return (b"%d" % key for key in whole.tolist())
