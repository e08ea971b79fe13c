"""The rows of a task, as portions; those that cannot be read or converted are noted. In a thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from modelyard.datasets.columns import Array, Batch
from modelyard.datasets.dataset import Dataset
from modelyard.datasets.keyed import KeyedShards, part_of
from modelyard.datasets.mapping import Binding
from modelyard.jobs.tasks import TaskSpec
from modelyard_worker.jobs.reader.faults import Faults
from modelyard_worker.jobs.reader.portions import Portion, cut
from modelyard_worker.jobs.reader.sizes import CallSize


@dataclass(frozen=True)
class Opened:
    """A dataset that is open, for one task at a time.

    Attributes:
        binding: of its columns to the model's inputs.
        shard_key: the column whose hash makes shards; empty: none.
        key: the column that is written beside the outputs; empty: none.
    """

    dataset: Dataset
    binding: Binding
    shard_key: str = ""
    key: str = ""

    @property
    def names(self) -> list[str]:
        """The columns that are read."""
        return list(dict.fromkeys([*self.binding.names, *([self.key] if self.key else [])]))


def portions_of(task: TaskSpec, opened: Opened, faults: Faults, sizes: CallSize) -> Iterator[Portion]:
    """Yield the rows of a task in portions of `sizes.rows`; which cannot be had go into `faults`, until these are full.

    Raises:
        ModelyardError: the dataset's.
    """
    batches = _batches(task, opened, lambda: sizes.rows)
    for portion in cut(_mapped(batches, task.begin, opened, faults), lambda: sizes.rows):
        if len(portion) % sizes.unit:
            _note_rest(portion, sizes.unit, faults)
        else:
            yield portion


def _note_rest(portion: Portion, unit: int, faults: Faults) -> None:
    """No call can be made of these rows, whatever they are."""
    why = f"the model takes {unit} rows a call, no more and no fewer; the last {len(portion)} of the task are no call"
    for position, row in zip(portion.positions.tolist(), portion.rows.tolist(), strict=True):
        faults.note(position, row, why, permanent=True)


def _batches(task: TaskSpec, opened: Opened, rows: Callable[[], int]) -> Iterator[Batch]:
    if task.shards is None:
        at = task.begin
        while at < task.end:
            end = min(at + rows(), task.end)
            yield opened.dataset.batch(at, end, opened.names)
            at = end
        return
    keyed = KeyedShards(opened.dataset, opened.shard_key, task.shards.of)
    yield from part_of(keyed.batches(task.shards.begin, task.shards.end, opened.names), task.begin, task.end)


def _mapped(batches: Iterator[Batch], at: int, opened: Opened, faults: Faults) -> Iterator[Portion]:
    for batch in batches:
        mapped = opened.binding.inputs(batch)
        count = len(mapped.rows) + len(mapped.failed)
        positions = np.arange(at, at + count)
        if mapped.failed:
            numbers = np.sort(np.concatenate([mapped.rows, np.fromiter(mapped.failed, np.int64)]))
            for row, why in mapped.failed.items():
                faults.note(at + int(np.searchsorted(numbers, row)), row, why, permanent=True)
            positions = at + np.searchsorted(numbers, mapped.rows)
        if faults.full:
            return
        if len(mapped.rows):
            yield Portion(positions, mapped.rows, mapped.columns, _key_of(batch, mapped, opened.key))
        at += count


def _key_of(batch: Batch, mapped: Batch, key: str) -> Array | None:
    if not key:
        return None
    values = batch.columns[key]
    return values if len(mapped.rows) == len(batch.rows) else values[np.isin(batch.rows, mapped.rows)]
