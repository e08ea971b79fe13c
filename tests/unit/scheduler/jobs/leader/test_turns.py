"""Whose job is planned next."""

from __future__ import annotations

from dataclasses import replace

from modelyard.jobs.job import Job
from modelyard_scheduler.jobs.leader.turns import Turns
from tests.unit.jobs.submitted import SPEC


def job(name: str, tenant: str, at_s: float = 0.0, priority: int = 5) -> Job:
    return Job(name, tenant, replace(SPEC, priority=priority), create_time_s=at_s)


def names(jobs: list[Job]) -> list[str]:
    return [job.id for job in jobs]


def test_tenants_take_turns_however_many_jobs_they_have() -> None:
    turns = Turns()
    waiting = [job(f"a{n}", "a", n) for n in range(5)] + [job("b0", "b", 9), job("b1", "b", 10)]
    order = []
    for _ in range(5):
        chosen = turns.choose(waiting, [], 1)
        order += names(chosen)
        waiting = [one for one in waiting if one not in chosen]
    assert order == ["a0", "b0", "a1", "b1", "a2"]


def test_of_a_tenant_the_most_urgent_comes_first_then_the_oldest() -> None:
    waiting = [job("late", "a", 3.0), job("early", "a", 1.0), job("urgent", "a", 5.0, priority=0)]
    assert names(Turns().choose(waiting, [], 3)) == ["urgent", "early", "late"]


def test_who_has_one_planned_already_comes_later() -> None:
    waiting = [job("a0", "a"), job("b0", "b", 1.0)]
    assert names(Turns().choose(waiting, ["a"], 1)) == ["b0"]
    assert names(Turns().choose(waiting, ["a", "a", "b"], 1)) == ["b0"]


def test_no_more_are_chosen_than_there_is_room_for() -> None:
    assert Turns().choose([job("a0", "a")], [], 0) == []
    assert Turns().choose([], [], 2) == []
