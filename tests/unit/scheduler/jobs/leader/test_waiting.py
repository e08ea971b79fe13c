"""What a training job that waits says why it does."""

from __future__ import annotations

from dataclasses import replace

from modelyard.deployment import InstanceState
from modelyard.jobs.gang import ranks_of
from modelyard_scheduler.jobs.leader.waiting import waits_for
from tests.unit.scheduler.jobs.leader.trainers import SPEC, Trainers
from tests.unit.scheduler.jobs.term import Stage


async def test_where_there_are_fewer_workers_than_it_needs_that_is_told(stage: Stage) -> None:
    trainers = Trainers(stage)
    await trainers.submit(replace(SPEC, min_workers=3, max_workers=3))
    leader = await stage.lead()
    for _ in range(4):
        await leader.look()
        await trainers.place()
    state = stage.state
    assert waits_for("job-1", state) == "waits for workers: 0 of at least 3, only 2 more have room"
    trainers.label("w1")
    del state.workers.items["w2"]
    assert waits_for("job-1", state) == "waits for workers: 0 of at least 3, only 1 more has room"
    trainers.label("w1", "w2", "w3")
    said = "; ".join(f"w{number}: would fit; being placed" for number in (1, 2, 3))
    assert waits_for("job-1", state) == f"waits for workers: 0 of at least 3: {said}"


async def test_why_ranks_fail_is_told_also_while_they_are_begun_anew(stage: Stage) -> None:
    trainers = Trainers(stage)
    await trainers.submit()
    leader = await stage.lead()
    for _ in range(4):
        await leader.look()
    assert await trainers.place()
    state = stage.state
    assert waits_for("job-1", state) == "its processes are being started"
    key = f"w1/{ranks_of('job-1')}"
    ready = state.instances.items[key]
    away = "the training process ended: exit status 75: no registry answers; loading anew"
    state.instances.items[key] = replace(ready, state=InstanceState.LOADING, reason=away, failures=2)
    assert waits_for("job-1", state) == f"w1: LOADING: {away}"
    state.instances.items[key] = replace(ready, failures=2)
    assert waits_for("job-1", state) == "w1: begun anew after it has failed, time 2"
