"""What an instance has done since it was loaded: counts and durations, as Triton's ModelStatistics tells them."""

from __future__ import annotations

import os
import threading
import time
from copy import deepcopy
from dataclasses import dataclass, field

MOST_SIZES = 1024
"""So many batch sizes are counted apart; clients choose them."""


@dataclass(frozen=True)
class BatchRecord:
    """One executed batch; durations in seconds.

    Attributes:
        rows: of all calls.
        queue_s: of each call, how long it waited.
        input_s: putting the inputs together.
        infer_s: the model itself.
        output_s: taking the outputs apart, and building the responses.
        failed: how many calls ended with an error.
    """

    rows: int
    queue_s: list[float]
    input_s: float
    infer_s: float
    output_s: float
    failed: int


@dataclass(slots=True)
class Duration:
    """How often, and how long in all."""

    count: int = 0
    ns: int = 0

    def add(self, count: int, seconds: float) -> None:
        """Count some more, which took so long together."""
        self.count += count
        self.ns += int(seconds * 1e9 + 0.5)


@dataclass
class BatchStatistics:
    """Executions of one batch size."""

    compute_input: Duration = field(default_factory=Duration)
    compute_infer: Duration = field(default_factory=Duration)
    compute_output: Duration = field(default_factory=Duration)


@dataclass
class InstanceStatistics:
    """Of one instance.

    Attributes:
        last_inference_ms: when the last batch ended, in ms since the epoch; 0: never.
        inference_count: rows that were answered; a call without rows counts as one.
        execution_count: batches.
        success: calls that were answered, from their arrival on.
        fail: calls that ended with an error.
        queue: how long calls waited that were executed; so for the three durations of computing.
        batches: by the number of rows.
    """

    last_inference_ms: int = 0
    inference_count: int = 0
    execution_count: int = 0
    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    queue: Duration = field(default_factory=Duration)
    compute_input: Duration = field(default_factory=Duration)
    compute_infer: Duration = field(default_factory=Duration)
    compute_output: Duration = field(default_factory=Duration)
    batches: dict[int, BatchStatistics] = field(default_factory=dict)


class Statistics:
    """Counts; any thread may."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sums = InstanceStatistics()

    def executed(self, record: BatchRecord) -> None:
        """Count a batch."""
        calls = len(record.queue_s)
        queue_s = sum(record.queue_s)
        parts = (record.input_s, record.infer_s, record.output_s)
        answered = calls - record.failed
        mean_s = queue_s / calls + sum(parts)
        with self._lock:
            sums = self._sums
            sums.last_inference_ms = round(time.time() * 1e3)
            sums.execution_count += 1
            sums.inference_count += record.rows * answered // calls
            sums.success.add(answered, answered * mean_s)
            if record.failed:
                sums.fail.add(record.failed, record.failed * mean_s)
            sums.queue.add(calls, queue_s)
            sums.compute_input.add(calls, calls * parts[0])
            sums.compute_infer.add(calls, calls * parts[1])
            sums.compute_output.add(calls, calls * parts[2])
            if batch := self._batch(record.rows):
                batch.compute_input.add(1, parts[0])
                batch.compute_infer.add(1, parts[1])
                batch.compute_output.add(1, parts[2])

    def _batch(self, rows: int) -> BatchStatistics | None:
        found = self._sums.batches.get(rows)
        if found is None and len(self._sums.batches) < MOST_SIZES:
            found = self._sums.batches[rows] = BatchStatistics()
        return found

    def refused(self, calls: int, seconds: float = 0.0) -> None:
        """Count calls that failed without being executed, after waiting so long together."""
        with self._lock:
            self._sums.fail.add(calls, seconds)

    def snapshot(self) -> InstanceStatistics:
        """A copy of what has been counted."""
        with self._lock:
            return deepcopy(self._sums)


def resident_bytes() -> int:
    """The memory that this process holds; 0 where the system does not tell (other than Linux)."""
    try:
        with open("/proc/self/statm", encoding="ascii") as pages:
            return int(pages.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
