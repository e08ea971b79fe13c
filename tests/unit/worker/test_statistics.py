"""Counts and durations of an instance."""

from __future__ import annotations

import pytest

from modelyard_worker.runner import statistics
from modelyard_worker.runner.statistics import BatchRecord, Duration, Statistics, resident_bytes


def test_what_batches_add_up_to() -> None:
    counted = Statistics()
    counted.executed(BatchRecord(4, [0.1, 0.3], 0.01, 0.02, 0.03, 0))
    counted.executed(BatchRecord(4, [0.2, 0.2], 0.01, 0.02, 0.03, 1))
    counted.executed(BatchRecord(1, [0.0], 0.01, 0.02, 0.03, 0))
    counted.refused(2, 0.5)
    sums = counted.snapshot()
    assert (sums.inference_count, sums.execution_count) == (7, 3)
    assert sums.success == Duration(4, 2 * 260_000_000 + 260_000_000 + 60_000_000)
    assert sums.fail == Duration(3, 260_000_000 + 500_000_000)
    assert sums.queue == Duration(5, 800_000_000)
    assert (sums.compute_input, sums.compute_infer) == (Duration(5, 50_000_000), Duration(5, 100_000_000))
    assert sums.compute_output == Duration(5, 150_000_000)
    assert sums.batches[4].compute_infer == Duration(2, 40_000_000)
    assert sums.batches[1].compute_output == Duration(1, 30_000_000)
    assert sums.last_inference_ms > 0


def test_a_snapshot_does_not_change() -> None:
    counted = Statistics()
    before = counted.snapshot()
    counted.executed(BatchRecord(1, [0.0], 0, 0, 0, 0))
    assert before.execution_count == 0
    assert before.batches == {}


def test_batch_sizes_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "MOST_SIZES", 3)
    counted = Statistics()
    for rows in range(1, 10):
        counted.executed(BatchRecord(rows, [0.0], 0, 0, 0, 0))
        counted.executed(BatchRecord(1, [0.0], 0, 0, 0, 0))
    sums = counted.snapshot()
    assert sorted(sums.batches) == [1, 2, 3]
    assert sums.batches[1].compute_infer.count == 10
    assert sums.execution_count == 18


def test_this_process_takes_some_memory() -> None:
    assert resident_bytes() > 1 << 20
