from __future__ import annotations

from modelyard.jobs.speculation import Running, second_attempts
from modelyard.jobs.tasks import TaskSpec

SLOWEST = Running(TaskSpec(0, 100), 9.0)
SLOW = Running(TaskSpec(100, 200), 4.0)
LARGE = Running(TaskSpec(200, 1200), 9.0)
AGAIN = Running(TaskSpec(1200, 1300), 50.0, attempts=2)


def test_the_slowest_get_a_second_attempt_as_far_as_workers_are_idle() -> None:
    running = [LARGE, SLOW, AGAIN, SLOWEST]
    assert second_attempts(running, 0.01, 5) == [SLOWEST.task, SLOW.task]
    assert second_attempts(running, 0.01, 1) == [SLOWEST.task]
    assert second_attempts(running, 0.01, 0) == second_attempts(running, 0.01, -1) == []


def test_what_takes_as_long_as_expected_is_left_alone() -> None:
    assert second_attempts([SLOW, SLOWEST], 0.05, 5) == []
    assert second_attempts([SLOWEST], 0.0, 5) == []
    assert second_attempts([Running(TaskSpec(0, 1), 1.9)], 0.001, 5) == []
    assert second_attempts([Running(TaskSpec(0, 1), 2.0)], 0.001, 5) == [TaskSpec(0, 1)]
