"""What the leader says of jobs to Prometheus."""

from __future__ import annotations

import time
from pathlib import Path

from modelyard.metrics import Journal, families
from modelyard.queue import Depth
from modelyard_scheduler.jobs.leader.metrics import Figures, JobMetrics
from tests.pages import values


def test_what_there_is_to_do_is_told_by_tenant_and_model(tmp_path: Path) -> None:
    figures = Figures(states={"RUNNING": 2})
    figures.depths = [Depth("acme", "digits@1", queued=3, in_flight=1, oldest_s=2.5, delayed=4, dead=5)]
    figures.looked_s = time.monotonic() - 7.0
    metrics = JobMetrics(Journal(tmp_path), figures)
    metrics.sample()
    labels = ("acme", "digits", "1")
    assert values(tmp_path, families.JOBS) == {("RUNNING",): 2}
    assert values(tmp_path, families.TASKS_QUEUED) == {labels: 3}
    assert values(tmp_path, families.TASKS_DELAYED) == {labels: 4}
    assert values(tmp_path, families.TASKS_IN_FLIGHT) == {labels: 1}
    assert values(tmp_path, families.TASKS_OLDEST) == {labels: 2.5}
    assert values(tmp_path, families.TASKS_DEAD) == {labels: 5}
    assert values(tmp_path, families.RECOVERY_AGE)[()] >= 7.0
    figures.clear()
    metrics.sample()
    assert values(tmp_path, families.JOBS) == values(tmp_path, families.TASKS_QUEUED) == {}
    assert values(tmp_path, families.RECOVERY_AGE) == {}


def test_what_happens_is_counted_once(tmp_path: Path) -> None:
    figures = Figures()
    metrics = JobMetrics(Journal(tmp_path), figures)
    for _ in range(2):
        figures.recovered["dead"] += 1
        figures.retried["acme", "digits@1"] += 2
        metrics.sample()
        metrics.sample()
    assert values(tmp_path, families.RECOVERED) == {("dead",): 2}
    assert values(tmp_path, families.TASK_RETRIES) == {("acme", "digits", "1"): 4}
