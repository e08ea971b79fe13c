"""Ranks that share a model are lost, and come, in mid-training: all begin anew from the last checkpoint."""

from __future__ import annotations

import signal
from functools import partial
from typing import Any

import pytest
import torch

from modelyard.train.local import run_local
from tests.integration.train.elastic import shared
from tests.integration.train.elastic.conftest import NewGang
from tests.integration.train.elastic.gang import START_S, Gang
from tests.integration.train.elastic.rank import Plan
from tests.unit.train.parallel.cases import Net, Points
from tests.waiting import eventually

STEPS, GATE = 6, 4
SHARDED, TENSOR, PIPELINE = (2, 1, 1), (1, 2, 1), (1, 1, 2)
TOLERANCE = 1e-6


def check(job: Gang) -> None:
    """What came of it is as of a run on one process that nothing happened to."""
    found = torch.load(job.directory / "result.pt")
    plan = Plan("", "", epochs=2)
    expected = run_local(Net(), Points(), Points(shared.HELD_OUT), shared.options(plan)).module.state_dict()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=TOLERANCE)


async def restarts(job: Gang, *names: str, **plan: Any) -> list[str]:
    """Wait until ranks are to be started anew, and do so, as agents do; return the names of the new ones."""
    for name in names:
        await eventually(partial(job.found, name, "restart"), START_S)
        job.start(f"{name}'", **plan)
    return [f"{name}'" for name in names]


@pytest.mark.parametrize(
    "shape",
    [SHARDED, pytest.param(TENSOR, marks=pytest.mark.chaos), pytest.param(PIPELINE, marks=pytest.mark.chaos)],
    ids=str,
)
async def test_a_rank_is_killed_and_all_go_on_from_the_last_checkpoint(gang: NewGang, shape: tuple[int, ...]) -> None:
    job = await gang(min_workers=2, max_workers=2, replica=2)
    plan = {"epochs": 2, "shape": shape}
    for name in "ab":
        job.start(name, gates=(GATE,), **plan)
    for name in "ab":
        await job.reaches(name, "step", GATE)
    await eventually(lambda: any(event["saved"] == GATE - 1 for name in "ab" for event in job.found(name, "saved")))
    job.signal("a", signal.SIGKILL)
    job.open_gate(GATE)
    job.start("a'", **plan)
    await restarts(job, "b", **plan)
    await job.ends("a'", "b'")
    assert {event["from_step"] for name in ("a'", "b'") for event in job.found(name, "entered")} <= {GATE - 1, GATE}
    assert [job.found(name, "ending")[0]["ending"] for name in ("a'", "b'")] == ["FINISHED"] * 2
    check(job)


@pytest.mark.chaos
async def test_replicas_come_and_go(gang: NewGang) -> None:
    job = await gang(min_workers=2, max_workers=4, expected=2, replica=2)
    plan = {"epochs": 2, "shape": SHARDED}
    for name in "ab":
        job.start(name, gates=(1,), **plan)
    await job.reaches("a", "step", 1)
    for name in "cd":  # another replica: all leave, and come back
        job.start(name, gates=(GATE,), **plan)
    await job.reaches("a", "leaving")
    job.open_gate(1)
    back = await restarts(job, "a", "b", gates=(GATE,), **plan)
    for name in ("c", "d", *back):
        await job.reaches(name, "step", GATE)
    assert sorted(event["entered"] for name in ("c", "d", *back) for event in job.found(name, "entered")) == [
        0,
        1,
        2,
        3,
    ]
    job.signal("c", signal.SIGKILL)
    job.open_gate(GATE)
    last = [*await restarts(job, "d", *back, **plan), "c'"]
    job.start("c'", **plan)
    await job.ends(*last)
    check(job)
