"""Whether a version can be loaded anywhere."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from modelyard.deployment import Instance, InstanceOptions
from modelyard.etcd import Etcd
from modelyard_scheduler.failures import MOST_FAILURES
from modelyard_scheduler.outlook import hopeless, unfit_everywhere
from modelyard_scheduler.state import State
from tests.unit.scheduler.simulation import FAILED, deployment, on, worker


@pytest.fixture
async def state() -> AsyncIterator[State]:
    etcd = Etcd("127.0.0.1:1")
    yield State(etcd, lambda: None)
    await etcd.close()


def fail(state: State, name: str, reason: str = "no such operator") -> None:
    """A job's version has failed so often on a worker that it is avoided."""
    state.wishes.items["m@1/job"] = deployment("m", 2)
    state.instances.items[f"{name}/m@1"] = Instance("m", "1", name, FAILED, reason, failures=MOST_FAILURES)
    state.note_failures()


async def test_without_workers_nothing_is_known(state: State) -> None:
    assert (hopeless(deployment("m"), state), unfit_everywhere(deployment("m"), state)) == ("", "")


async def test_no_worker_is_large_enough(state: State) -> None:
    state.workers.items |= {"a": worker("a", 4), "b": worker("b", 5), "c": worker("c", 64, zone="x")}
    assert hopeless(deployment("m", gib=6), state) == ""
    for reason in (unfit_everywhere, hopeless):
        said = reason(deployment("m", gib=6, on=on("a", "b")), state)
        assert "a: needs 6 GiB of memory, it has 4 GiB; b: needs 6 GiB of memory, it has 5 GiB" in said


async def test_it_has_failed_on_each_worker_that_is_not_too_small(state: State) -> None:
    state.workers.items |= {"a": worker("a"), "b": worker("b"), "c": worker("c", 1)}
    wanted = deployment("m", gib=2)
    fail(state, "a")
    assert hopeless(wanted, state) == ""
    fail(state, "b", "killed")
    reasons = "a: no such operator; b: killed; c: needs 2 GiB of memory, it has 1 GiB"
    assert hopeless(wanted, state) == f"no live worker can run it: {reasons}"
    assert hopeless(deployment("m", gib=2, options=InstanceOptions(threads=2)), state) == "", "not tried so far"
    assert unfit_everywhere(wanted, state) == ""


async def test_a_worker_that_drains_is_no_hope(state: State) -> None:
    state.workers.items |= {"a": worker("a"), "b": worker("b", draining=True)}
    fail(state, "a")
    assert hopeless(deployment("m"), state) == "no live worker can run it: a: no such operator"
