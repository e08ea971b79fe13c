"""What a runner measures: each batch as it is done, and its queues and memory once a second."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import psutil

from modelyard.metrics import Histogram, Journal, families
from modelyard.names import ModelVersion
from modelyard_worker.runner.loaded import BatchRecord, LoadedModel


class BatchMetrics:
    """Counts batches. Instances are executed in threads of their own, so each batch takes the journal's lock."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def observer(self, version: ModelVersion) -> Callable[[BatchRecord], None]:
        """Return what is to be called for each batch of a version, in any thread."""
        histograms: list[Histogram] = []

        def observe(batch: BatchRecord) -> None:
            with self._journal.lock:
                if not histograms:  # only now: the journal would drop them again if loading took long
                    histograms.extend(self._histograms(version))
                queue, rows, inputs, infer, outputs = histograms
                for seconds in batch.queue_s:
                    queue.observe(seconds)
                rows.observe(batch.rows)
                inputs.observe(batch.input_s)
                infer.observe(batch.infer_s)
                outputs.observe(batch.output_s)
                if batch.failed:
                    self._journal.cell(families.FAILED_CALLS, version.model, version.version).add(batch.failed)

        return observe

    def _histograms(self, version: ModelVersion) -> list[Histogram]:
        measured = (families.QUEUE, families.BATCH, families.INPUT, families.INFER, families.OUTPUT)
        return [self._journal.histogram(family, version.model, version.version) for family in measured]


class InstanceMetrics:
    """Looks at the instances of this process."""

    def __init__(self, journal: Journal, loaded: Callable[[], Sequence[LoadedModel]]) -> None:
        self._journal = journal
        self._loaded = loaded
        self._process = psutil.Process()

    def present(self) -> set[ModelVersion]:
        """The versions that it holds."""
        return {model.instance for model in self._loaded()}

    def sample(self) -> None:
        """Write down what waits, and what memory this process takes: of each instance the same part."""
        loaded = {(m.instance.model, m.instance.version): m for m in self._loaded()}
        self._journal.replace(families.QUEUED, {labels: m.waiting for labels, m in loaded.items()})
        resident_bytes = self._process.memory_info().rss
        parts = {labels: resident_bytes / len(loaded) for labels in loaded}
        self._journal.replace(families.INSTANCE_MEMORY, parts)
