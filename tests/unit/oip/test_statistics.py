from modelyard.oip import messages
from modelyard.oip.statistics import summed


def part(last: int, rows: int, batch_size: int) -> messages.ModelStatistics:
    made = messages.ModelStatistics(last_inference=last, inference_count=rows, execution_count=2)
    made.inference_stats.success.count = rows
    made.inference_stats.queue.ns = 10
    batch = made.batch_stats.add(batch_size=batch_size)
    batch.compute_infer.count, batch.compute_infer.ns = 2, 100
    made.memory_usage.add(type="CPU", byte_size=5)
    return made


def test_counts_and_durations_are_added() -> None:
    total = summed("m", "1", [part(7, 3, 4), part(5, 1, 4), part(6, 2, 1)])
    assert (total.name, total.version, total.last_inference) == ("m", "1", 7)
    assert (total.inference_count, total.execution_count) == (6, 6)
    assert (total.inference_stats.success.count, total.inference_stats.queue.ns) == (6, 30)
    assert [(b.batch_size, b.compute_infer.count, b.compute_infer.ns) for b in total.batch_stats] == [
        (1, 2, 100),
        (4, 4, 200),
    ]
    assert [(m.type, m.id, m.byte_size) for m in total.memory_usage] == [("CPU", 0, 15)]


def test_of_nobody_they_are_nothing() -> None:
    total = summed("m", "1", [])
    assert (total.name, total.inference_count, len(total.batch_stats)) == ("m", 0, 0)
    assert total.HasField("inference_stats")
