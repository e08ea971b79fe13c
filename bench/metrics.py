"""What metrics cost: `python -m bench.metrics` prints JSON. Times are CPU time, the least of several rounds."""

from __future__ import annotations

import json
import tempfile
import time
import timeit
from collections.abc import Callable
from pathlib import Path

from prometheus_client.exposition import generate_latest

from modelyard.metrics import Journal
from modelyard.metrics.families import families_of
from modelyard.metrics.gathering import Gathering
from modelyard.names import ModelVersion
from modelyard_scheduler.frontdoor.metrics import CallMetrics
from modelyard_worker.runner.loaded import BatchRecord
from modelyard_worker.runner.metrics import BatchMetrics

CALLS = 100_000
VERSIONS = 100
FRONT_DOORS = 4
ROUNDS = 5


def per_call_us(work: Callable[[], object], calls: int = CALLS) -> float:
    """The CPU time of one call."""
    return round(min(timeit.repeat(work, number=calls, repeat=ROUNDS, timer=time.process_time)) / calls * 1e6, 2)


def scrape_ms(directory: Path) -> tuple[float, int]:
    """How long a page takes, and how many bytes it has, with so many versions in each of several front doors."""
    journals = [Journal(directory) for _ in range(FRONT_DOORS)]
    for journal in journals:
        calls = CallMetrics(journal)
        for number in range(VERSIONS):
            for status in ("OK", "UNAVAILABLE"):
                calls.observe(ModelVersion(f"model-{number}", "1"), status, 0.01)
    gathering = Gathering(directory, journals[0], families_of("scheduler"))
    page = generate_latest(gathering)
    return per_call_us(lambda: generate_latest(gathering), 3) / 1000, len(page)


def main() -> None:
    """Measure, and print."""
    version = ModelVersion("model", "1")
    with tempfile.TemporaryDirectory() as directory:
        journal = Journal(Path(directory))
        calls, observe = CallMetrics(journal), BatchMetrics(journal).observer(version)
        one = BatchRecord(1, [0.001], 0.0001, 0.001, 0.0001, 0)
        many = BatchRecord(32, [0.001] * 32, 0.0001, 0.001, 0.0001, 0)
        found: dict[str, object] = {
            "front_door_us_per_call": per_call_us(lambda: calls.observe(version, "OK", 0.01)),
            "runner_us_per_batch_of_1": per_call_us(lambda: observe(one)),
            "runner_us_per_batch_of_32": per_call_us(lambda: observe(many), CALLS // 10),
        }
        journal.close()
    with tempfile.TemporaryDirectory() as directory:
        milliseconds, size_bytes = scrape_ms(Path(directory))
    found |= {"scrape_ms": round(milliseconds, 1), "scrape_versions": VERSIONS, "scrape_bytes": size_bytes}
    print(json.dumps({"metrics": found}, indent=2))


if __name__ == "__main__":
    main()
