"""What an agent and a runner measure."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from modelyard.catalogue import Resources
from modelyard.deployment import Instance, InstanceState, Placement
from modelyard.metrics import Journal, families
from modelyard.names import ModelVersion
from modelyard_worker.metrics import InstanceLife, WorkerMetrics
from modelyard_worker.runner.loaded import BatchRecord
from modelyard_worker.runner.metrics import BatchMetrics, InstanceMetrics
from tests.pages import values

LABELS = ("m", "1")
BLANK = Instance("m", "1", "w0", InstanceState.LOADING)
READY, FAILED = replace(BLANK, state=InstanceState.READY), replace(BLANK, state=InstanceState.FAILED)
UNLOADING = replace(BLANK, state=InstanceState.UNLOADING)


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Life:
    """An instance's life, and what is counted of it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = Clock()
        self.journal = Journal(directory)
        self._life = InstanceLife(self.journal, self.clock)

    def say(self, instance: Instance, after_s: float = 0.0) -> None:
        self.clock.now_s += after_s
        self._life.observe(instance)

    def counted(self, family: Any, *labels: str) -> float:
        return values(self.directory, family).get((*LABELS, *labels), 0)

    @property
    def load_s(self) -> float:
        """The seconds of all loads."""
        found = [c for k, c in self.journal._sheet("histogram")._cells.items() if "load_seconds_sum" in k]
        return sum(cell.value for cell in found)


@pytest.fixture
def life(tmp_path: Path) -> Life:
    return Life(tmp_path)


def test_a_load_is_counted_and_timed(life: Life) -> None:
    life.say(BLANK)
    life.say(replace(BLANK, reason="no registry answers"), 2)
    life.say(READY, 3)
    assert (life.counted(families.LOADS, "ready"), life.counted(families.LOAD), life.load_s) == (1, 1, 5)
    assert life.counted(families.LOADS, "failed") == 0


def test_every_failed_load_is_counted_and_the_time_goes_on(life: Life) -> None:
    for failures in (1, 2, 3):
        life.say(replace(FAILED, failures=failures), 1)
    life.say(replace(FAILED, failures=3))
    life.say(replace(READY, failures=3), 1)
    assert (life.counted(families.LOADS, "failed"), life.counted(families.LOADS, "ready"), life.load_s) == (3, 1, 4)
    assert life.counted(families.RUNNER_FAILURES) == 0


@pytest.mark.parametrize(("after", "failures"), [(BLANK, 1), (FAILED, 1), (BLANK, 0)])
def test_a_lost_runner_is_no_failed_load(life: Life, after: Instance, failures: int) -> None:
    life.say(READY, 1)
    life.say(replace(after, failures=failures), 100)
    life.say(replace(READY, failures=failures), 2)
    assert (life.counted(families.RUNNER_FAILURES), life.counted(families.LOADS, "failed")) == (1, 0)
    assert (life.counted(families.LOADS, "ready"), life.load_s) == (2, 3)


def test_an_unload_is_counted_once(life: Life) -> None:
    life.say(READY)
    life.say(UNLOADING)
    life.say(UNLOADING)
    assert life.counted(families.UNLOADS) == 1
    assert life.counted(families.RUNNER_FAILURES) == 0


def test_memory_is_what_was_promised(tmp_path: Path) -> None:
    placements = [
        Placement("m", version, "w0", "d" * 64, "onnx", Resources(memory_bytes=size), 1)
        for version, size in (("1", 100), ("2", 50))
    ]
    metrics = WorkerMetrics(Journal(tmp_path), lambda: placements, 1_000)
    metrics.sample()
    assert metrics.placed() == {ModelVersion("m", "1"), ModelVersion("m", "2")}
    assert values(tmp_path, families.RESERVED) == {(): 150}
    placements.clear()
    metrics.sample()
    assert values(tmp_path, families.RESERVED) == {(): 0}
    assert values(tmp_path, families.CAPACITY) == {(): 1_000}


def test_batches_are_counted_in_all_threads(tmp_path: Path) -> None:
    observe = BatchMetrics(Journal(tmp_path)).observer(ModelVersion("m", "1"))
    batch = BatchRecord(rows=4, queue_s=[0.001, 0.002, 0.003], input_s=0.1, infer_s=0.2, output_s=0.3, failed=1)
    threads = [threading.Thread(target=lambda: [observe(batch) for _ in range(2_000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert values(tmp_path, families.QUEUE) == {LABELS: 24_000}
    assert values(tmp_path, families.FAILED_CALLS) == {LABELS: 8_000}
    for family in (families.BATCH, families.INPUT, families.INFER, families.OUTPUT):
        assert values(tmp_path, family) == {LABELS: 8_000}


class Loaded:
    """Stands for an instance that answers calls."""

    def __init__(self, version: str, waiting: int) -> None:
        self.instance = ModelVersion("m", version)
        self.waiting = waiting


def test_instances_share_the_memory_of_their_runner(tmp_path: Path) -> None:
    held: Any = [Loaded("1", 3), Loaded("2", 0)]
    metrics = InstanceMetrics(Journal(tmp_path), lambda: held)
    metrics.sample()
    assert metrics.present() == {ModelVersion("m", "1"), ModelVersion("m", "2")}
    assert values(tmp_path, families.QUEUED) == {("m", "1"): 3, ("m", "2"): 0}
    parts = values(tmp_path, families.INSTANCE_MEMORY)
    assert parts["m", "1"] == parts["m", "2"]
    assert sum(parts.values()) == pytest.approx(psutil.Process().memory_info().rss, rel=0.2)
    held.clear()
    metrics.sample()
    assert values(tmp_path, families.INSTANCE_MEMORY) == {}
