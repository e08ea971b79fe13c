"""Statistics of one version, summed over those who execute its calls."""

from __future__ import annotations

from collections.abc import Iterable

from modelyard.oip import messages

_DURATIONS = [field.name for field in messages.InferStatistics.DESCRIPTOR.fields]
_BATCH_DURATIONS = ("compute_input", "compute_infer", "compute_output")


def summed(name: str, version: str, parts: Iterable[messages.ModelStatistics]) -> messages.ModelStatistics:
    """Return the sum of statistics: counts and durations, batches by their size, memory by its kind."""
    total = messages.ModelStatistics(name=name, version=version)
    total.inference_stats.SetInParent()
    batches: dict[int, messages.InferBatchStatistics] = {}
    memory: dict[tuple[str, int], int] = {}
    for part in parts:
        total.last_inference = max(total.last_inference, part.last_inference)
        total.inference_count += part.inference_count
        total.execution_count += part.execution_count
        for duration in _DURATIONS:
            _add(getattr(total.inference_stats, duration), getattr(part.inference_stats, duration))
        for batch in part.batch_stats:
            known = batches.setdefault(batch.batch_size, messages.InferBatchStatistics(batch_size=batch.batch_size))
            for duration in _BATCH_DURATIONS:
                _add(getattr(known, duration), getattr(batch, duration))
        for usage in part.memory_usage:
            memory[usage.type, usage.id] = memory.get((usage.type, usage.id), 0) + usage.byte_size
    total.batch_stats.extend(batches[size] for size in sorted(batches))
    for (kind, number), size_bytes in memory.items():
        total.memory_usage.add(type=kind, id=number, byte_size=size_bytes)
    return total


def _add(total: messages.StatisticDuration, part: messages.StatisticDuration) -> None:
    total.count += part.count
    total.ns += part.ns
