"""On-demand deployments under all policies: loaded when called, evicted for others, never in anybody's use."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.deployment import Activity, Deployment
from modelyard_scheduler.eviction import RECENT_S, WAIT_S, Evictions
from modelyard_scheduler.room import MOST_HELPED
from tests.unit.scheduler.simulation import Cluster, deployment, key, on, worker


def on_demand(model: str, gib: int = 3, **said: Any) -> Deployment:
    return deployment(model, gib=gib, on_demand=True, **said)


def test_on_demand_is_loaded_while_it_is_called_and_unloaded_when_it_is_idle() -> None:
    cluster = Cluster(worker("a"))
    cluster.deploy(on_demand("m", idle_s=60))
    cluster.settle()
    assert cluster.placed() == {}
    cluster.call("m")
    cluster.settle()
    assert cluster.placed() == {"m@1": ["a"]}
    cluster.now_s += 59
    assert cluster.settle() == []
    cluster.call("m")
    cluster.settle()
    cluster.now_s += 60
    cluster.settle()
    assert cluster.placed() == {}
    assert cluster.evictions == {key("m"): "it was not called for 60 s"}
    cluster.call("m")
    cluster.settle()
    assert (cluster.placed(), cluster.evictions) == ({"m@1": ["a"]}, {})


def test_idleness_begins_when_it_answers_and_not_while_it_loads() -> None:
    cluster = Cluster(worker("a"))
    cluster.deploy(on_demand("m", idle_s=20))
    cluster.call("m")
    cluster.decide()
    cluster.step(("a", key("m")))
    cluster.now_s += WAIT_S - 1
    assert not cluster.decide()
    cluster.step(("a", key("m")))
    assert not cluster.decide()
    cluster.now_s += 19
    assert not cluster.decide()
    cluster.now_s += 1
    assert set(cluster.decide().unloaded) == {key("m")}


def test_the_least_recently_used_makes_room_and_no_more_than_is_needed() -> None:
    cluster = Cluster(worker("a", 10))
    for model in ("x", "y", "z"):
        cluster.deploy(on_demand(model))
        cluster.call(model)
        cluster.settle()
        cluster.now_s += RECENT_S
    cluster.deploy(on_demand("new", 4))
    cluster.call("new")
    cluster.settle()
    assert cluster.placed() == {"new@1": ["a"], "y@1": ["a"], "z@1": ["a"]}
    assert cluster.evictions == {key("x"): "new@1 needed the room"}


def test_what_was_used_of_late_and_what_is_not_on_demand_is_not_evicted() -> None:
    cluster = Cluster(worker("a", 8))
    cluster.deploy(on_demand("x"), deployment("fixed", gib=4))
    cluster.call("x")
    cluster.settle()
    cluster.deploy(deployment("new", gib=3))
    cluster.now_s += RECENT_S - 1
    assert cluster.settle() == []
    cluster.call("x")
    cluster.decide()
    cluster.now_s += RECENT_S - 1
    assert cluster.settle() == []
    cluster.now_s += 1
    cluster.settle()
    assert cluster.placed() == {"fixed@1": ["a"], "new@1": ["a"]}


def test_nothing_is_evicted_where_it_would_not_help_or_where_room_is_on_its_way() -> None:
    cluster = Cluster(worker("a", 8), worker("b", 2))
    cluster.deploy(on_demand("x", 2), deployment("fixed", gib=6, on=on("a")), deployment("gone", gib=2, on=on("b")))
    cluster.call("x")
    cluster.settle()
    cluster.now_s += RECENT_S
    cluster.deploy(deployment("huge", gib=7))
    assert cluster.settle() == []
    cluster.undeploy("huge")
    cluster.undeploy("gone")
    cluster.deploy(deployment("new", gib=2))
    cluster.settle()
    assert cluster.placed() == {"fixed@1": ["a"], "new@1": ["b"], "x@1": ["a"]}


def test_what_found_no_room_is_forgotten_when_nobody_can_be_waiting() -> None:
    cluster = Cluster(worker("a", 4))
    cluster.deploy(deployment("fixed", gib=3), on_demand("x"))
    cluster.call("x")
    cluster.settle()
    cluster.now_s += WAIT_S
    cluster.settle()
    assert cluster.activities == {}
    assert "it could not be placed" in cluster.evictions[key("x")]


def test_activity_without_an_on_demand_deployment_is_removed() -> None:
    cluster = Cluster(worker("a"))
    cluster.deploy(deployment("m"))
    cluster.call("m")
    cluster.call("nobody")
    assert set(cluster.decide().stray) == {key("m"), key("nobody")}
    assert cluster.activities == {}


def test_what_is_not_on_demand_gets_the_room_first() -> None:
    cluster = Cluster(worker("a", 4))
    cluster.deploy(on_demand("a-first"), deployment("z-last", gib=3))
    cluster.call("a-first")
    cluster.settle()
    assert cluster.placed() == {"z-last@1": ["a"]}


def test_what_replaces_others_is_neither_evicted_nor_given_up() -> None:
    cluster = Cluster(worker("a", 6))
    cluster.broken = {("a", "m")}
    cluster.deploy(on_demand("m", version="2", replaces=("1",), idle_s=10), deployment("new", gib=4))
    cluster.call("m", "2")
    for _ in range(3):
        cluster.decide()
        for site in cluster.pending():
            cluster.step(site)
        cluster.now_s += WAIT_S
    assert cluster.activities
    assert not cluster.evictions


def test_a_stray_activity_key_makes_nobody_evictable() -> None:
    cluster = Cluster(worker("a", 4))
    cluster.deploy(deployment("fixed", gib=3))
    cluster.settle()
    cluster.uses.begun = False
    cluster.activities[key("fixed")] = (1, Activity(0.0))
    cluster.deploy(deployment("new", gib=3))
    assert not cluster.decide().unloaded


def full(count: int) -> Cluster:
    """So many workers, each full of an on-demand deployment that nobody calls any more."""
    cluster = Cluster(*(worker(f"w{n:03}", 4) for n in range(count)))
    for n in range(count):
        cluster.deploy(on_demand(f"old{n}", 4))
        cluster.call(f"old{n}")
    cluster.settle()
    cluster.now_s += RECENT_S
    return cluster


def test_room_is_made_for_so_many_at_a_time_and_for_all_in_the_end() -> None:
    cluster = full(MOST_HELPED + 10)
    cluster.deploy(*(deployment(f"new{n}", gib=4) for n in range(MOST_HELPED + 10)))
    assert len(cluster.decide().unloaded) == MOST_HELPED
    cluster.settle()
    assert all(model.startswith("new") for model in cluster.placed())
    assert len(cluster.placed()) == MOST_HELPED + 10


def test_those_for_whom_there_is_no_help_do_not_keep_others_from_it() -> None:
    cluster = full(1)
    cluster.deploy(*(deployment(f"large{n}", gib=5) for n in range(2 * MOST_HELPED)))
    cluster.deploy(deployment("zzz", gib=4))
    for _ in range(30):
        cluster.now_s += 1
        cluster.settle()
    assert cluster.placed() == {"zzz@1": ["w000"]}


def test_with_nobody_to_evict_nobody_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = full(1)
    cluster.call("old0")
    cluster.deploy(deployment("new", gib=4))
    monkeypatch.delattr(Evictions, "choose")
    assert not cluster.decide()
