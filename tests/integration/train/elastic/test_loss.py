"""Ranks are lost and come in mid-training: the others go on in the same step, and every sample is counted once."""

from __future__ import annotations

import random
import signal

import pytest
import torch

from modelyard.train.local import run_local
from tests.integration.train.elastic.conftest import NewGang
from tests.integration.train.elastic.gang import SETTLE_S, Gang
from tests.integration.train.elastic.rank import BATCH, SAMPLES, Plan, options
from tests.unit.train.recipes import Small, pairs

EPOCHS = 3
STEPS = EPOCHS * -(-SAMPLES // BATCH)
WHERE = ("forward", "reduce", "sum", "optimizer")


def undisturbed() -> dict[str, torch.Tensor]:
    """The weights after a run on one process, which nothing happened to."""
    plan = Plan("", "", epochs=EPOCHS)
    return run_local(Small(), pairs(SAMPLES), pairs(10, seed=8), options(plan)).module.state_dict()


def check(gang: Gang, *survivors: str) -> None:
    """What must hold after a run, whatever happened in it."""
    counted = gang.counted()
    assert list(counted) == list(range(1, STEPS + 1))
    per_epoch = STEPS // EPOCHS
    for epoch in range(EPOCHS):
        steps = range(epoch * per_epoch + 1, (epoch + 1) * per_epoch + 1)
        assert sorted(index for step in steps for index in counted[step]) == list(range(SAMPLES))
    first = gang.weights(survivors[0])
    for name, value in undisturbed().items():
        torch.testing.assert_close(first[name], value, rtol=0, atol=1e-6)
    for survivor in survivors:
        assert all(torch.equal(value, first[name]) for name, value in gang.weights(survivor).items())
        assert [event["ending"] for event in gang.found(survivor, "ending")] == ["FINISHED"]
        committed = [event["committed"] for event in gang.found(survivor, "committed")]
        assert committed == sorted(set(committed))


def formed(gang: Gang, name: str) -> list[int]:
    """The sizes of the groups that a rank was in."""
    return [event["world"] for event in gang.found(name, "formed")]


async def test_killed_ranks_cost_no_sample_and_no_step(gang: NewGang) -> None:
    victims = dict(zip("bcde", random.sample(WHERE, len(WHERE)), strict=True))
    job = await gang(min_workers=2, max_workers=6)
    for name in "abcdef":
        job.start(name, at=random.randrange(STEPS) if name in victims else -1, where=victims.get(name, ""))
    await job.ends("a", "f")
    check(job, "a", "f")
    for victim in victims:
        assert not job.found(victim, "ending")


async def test_a_stopped_rank_is_left_behind_and_comes_back(gang: NewGang) -> None:
    job = await gang(min_workers=2, max_workers=3, settle_s=SETTLE_S)
    last = STEPS - 2
    job.start("a", at=random.randrange(STEPS // 2), where=random.choice(WHERE[:3]), signal=signal.SIGSTOP)
    job.start("b", gates=(last,))
    job.start("c", gates=(last,))
    await job.reaches("b", "step", last)
    job.signal("a", signal.SIGCONT)
    await job.reaches("b", "leaving")
    job.open_gate(last)
    await job.ends("a", "b", "c")
    check(job, "a", "b", "c")
    assert formed(job, "b") == [3, 2, 3]


async def test_a_rank_joins_at_the_end_of_a_step(gang: NewGang) -> None:
    job = await gang(min_workers=1, max_workers=3, expected=2)
    gate = random.randrange(1, STEPS - 1)
    for name in "ab":
        job.start(name, gates=(gate,))
    await job.reaches("a", "step", gate)
    job.start("c")
    await job.reaches("a", "leaving")
    job.open_gate(gate)
    await job.ends("a", "b", "c")
    check(job, "a", "b", "c")
    begun = [event["step"] for event in job.found("a", "formed")]
    assert begun in ([0, gate + 1], [0, gate + 2])  # as the step at the gate had begun on both, or on one
    assert [(event["world"], event["step"]) for event in job.found("c", "formed")] == [(3, begun[1])]


@pytest.mark.chaos
async def test_who_heals_is_killed_in_the_middle_of_it(gang: NewGang) -> None:
    job = await gang(min_workers=2, max_workers=3, expected=2)
    healing = {"gates": (8,), "where": "heal"}
    job.start("a", **healing)
    job.start("b", **healing)
    await job.reaches("a", "step", 8)
    first = next(name for name in "ab" if job.found(name, "formed")[0]["rank"] == 0)
    (job.directory / f"at-{first}").write_text("9")
    job.start("c")
    await job.reaches("a", "leaving")
    job.open_gate(8)
    survivors = [name for name in "abc" if name != first]
    await job.ends(*survivors)
    assert job.found(first, "reached")
    check(job, *survivors)


@pytest.mark.chaos
async def test_who_makes_a_version_is_killed_in_the_middle_of_it(gang: NewGang) -> None:
    job = await gang(min_workers=2, max_workers=3, settle_s=SETTLE_S)
    for name in "abc":
        job.start(name, gates=(8,), where="conclude")
    await job.reaches("a", "step", 8)
    first, *survivors = sorted("abc", key=lambda name: job.found(name, "formed")[0]["rank"])
    (job.directory / f"at-{first}").write_text(str(STEPS))
    job.open_gate(8)
    await job.ends(*survivors)
    assert job.found(first, "reached")
    check(job, *survivors)
    (concluded,) = [name for name in "abc" if job.found(name, "concluded")]
    assert {job.found(name, "ending")[0]["version"] for name in survivors} == {f"of-{concluded}"}


async def test_ranks_train_on_without_a_control_process_and_take_the_next(gang: NewGang) -> None:
    job = await gang(min_workers=2, max_workers=3)
    for name in "abc":
        job.start(name, gates=(5, 12), at=15 if name == "b" else -1)
    await job.reaches("a", "step", 5)
    await job.kill_control()
    job.open_gate(5)
    await job.reaches("a", "step", 12)
    await job.start_control()
    job.open_gate(12)
    await job.ends("a", "c")
    check(job, "a", "c")
    assert formed(job, "a") == [3, 2]


@pytest.mark.chaos
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("turn", range(20))
async def test_many_kills(gang: NewGang, turn: int) -> None:
    del turn
    job = await gang(min_workers=1, max_workers=3)
    victims = random.sample("abc", random.choice((1, 2)))
    for name in "abc":
        job.start(name, at=random.randrange(STEPS) if name in victims else -1, where=random.choice((*WHERE, "heal")))
    survivors = [name for name in "abc" if name not in victims]
    await job.ends(*survivors)
    check(job, *survivors)
