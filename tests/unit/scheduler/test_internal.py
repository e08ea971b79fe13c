"""Internal replicas under all policies: jobs get what nobody needs, users come first."""

from __future__ import annotations

import dataclasses

import pytest

from modelyard.deployment import InstanceOptions
from modelyard_scheduler import room
from modelyard_scheduler.eviction import RECENT_S, WAIT_S
from modelyard_scheduler.failures import AVOIDED_S
from tests.unit.scheduler.simulation import Cluster, deployment, key, on, worker


def two(gib: int = 8) -> Cluster:
    return Cluster(worker("a", gib), worker("b", gib))


def lent(cluster: Cluster) -> dict[str, list[str]]:
    """What is placed for jobs, and where."""
    return cluster.placed(internal=True)


def test_a_version_is_on_as_many_workers_as_its_jobs_want_and_goes_when_nobody_does() -> None:
    cluster = Cluster(*(worker(name) for name in "abcd"))
    cluster.wish("m", 2)
    cluster.settle()
    assert len(lent(cluster)["m@1"]) == 2
    cluster.wish("m", 1, job="other")
    cluster.settle()
    assert len(lent(cluster)["m@1"]) == 3
    cluster.wish("m", 9, job="other")
    cluster.settle()
    assert lent(cluster) == {"m@1": ["a", "b", "c", "d"]}
    cluster.end("other")
    cluster.settle()
    assert len(lent(cluster)["m@1"]) == 2
    cluster.end()
    cluster.settle()
    assert (lent(cluster), cluster.placed(), cluster.instances) == ({}, {}, {})


def test_a_worker_that_joins_is_used_and_one_that_drains_or_is_gone_is_left_at_once() -> None:
    cluster = two()
    cluster.wish("m", 9)
    cluster.settle()
    cluster.workers["c"] = worker("c")
    cluster.settle()
    assert lent(cluster) == {"m@1": ["a", "b", "c"]}
    cluster.drain("a")
    cluster.decide()
    assert lent(cluster) == {"m@1": ["b", "c"]}
    cluster.crash("b")
    cluster.settle()
    assert lent(cluster) == {"m@1": ["c"]}


def test_replicas_of_a_user_count_and_stay_where_they_are() -> None:
    cluster = Cluster(*(worker(name) for name in "abc"))
    cluster.deploy(deployment("m", 2))
    cluster.settle()
    before = cluster.placed()
    cluster.wish("m", 2)
    assert cluster.settle() == []
    cluster.wish("m", 3)
    cluster.settle()
    assert cluster.placed() == before
    assert len(lent(cluster)["m@1"]) == 1
    cluster.end()
    cluster.settle()
    assert (cluster.placed(), lent(cluster)) == (before, {})


def test_a_users_options_and_selector_hold_for_jobs_too() -> None:
    options = InstanceOptions(threads=2)
    cluster = Cluster(worker("a", zone="x"), worker("b", zone="x"), worker("c", zone="y"))
    cluster.deploy(deployment("m", options=options, on=on(zone="x")))
    cluster.wish("m", 3)
    cluster.settle()
    assert len(cluster.placements) == 2
    assert cluster.ready(key("m"), options) == 2
    assert {name for name, _ in cluster.placements} == {"a", "b"}


def test_a_user_takes_over_what_is_there_and_leaves_it_to_the_job() -> None:
    cluster = two()
    cluster.wish("m", 2, 5)
    cluster.settle()
    cluster.deploy(deployment("m", gib=5))
    decision = cluster.decide()
    assert ([p.internal for p in decision.written], decision.withdrawn) == ([False], [])
    assert not cluster.pending(), "nothing is loaded anew"
    (mine,) = cluster.placed()["m@1"]
    cluster.undeploy("m")
    decision = cluster.decide()
    assert ([p.worker for p in decision.written], decision.withdrawn) == ([mine], [])
    assert lent(cluster) == {"m@1": ["a", "b"]}


def test_other_options_of_a_user_are_taken_on_by_all() -> None:
    options = InstanceOptions(threads=2)
    cluster = Cluster(*(worker(name) for name in "abc"))
    cluster.wish("m", 3)
    cluster.settle()
    cluster.deploy(deployment("m", 2, options=options))
    cluster.decide()
    answering = [cluster.ready(key("m"))]
    while cluster.pending():
        for site in cluster.pending():
            cluster.step(site)
            answering.append(cluster.ready(key("m")))
        cluster.decide()
    assert cluster.ready(key("m"), options) == 3
    assert [len(sites["m@1"]) for sites in (cluster.placed(), lent(cluster))] == [2, 1]


def test_a_user_who_waits_gets_the_room_even_of_the_last_replica_and_the_job_gets_it_back() -> None:
    cluster = two()
    cluster.wish("m", 2, 5)
    cluster.settle()
    cluster.deploy(deployment("n", 2, 5))
    cluster.settle()
    assert (cluster.placed(), lent(cluster)) == ({"n@1": ["a", "b"]}, {})
    cluster.undeploy("n")
    cluster.settle()
    assert lent(cluster) == {"m@1": ["a", "b"]}


def test_room_that_is_free_is_taken_before_that_of_jobs() -> None:
    cluster = Cluster(worker("a", 8), worker("b", 8), worker("c", 8))
    cluster.wish("m", 2, 5)
    cluster.settle()
    before = lent(cluster)
    cluster.deploy(deployment("n", gib=5))
    cluster.settle()
    assert lent(cluster) == before
    assert len(cluster.placed()["n@1"]) == 1


def test_no_more_goes_than_a_user_needs_and_nothing_comes_into_the_way_meanwhile() -> None:
    cluster = Cluster(worker("a", 8))
    for model in ("x", "y", "z"):
        cluster.wish(model, 1, 2, job=model)
    cluster.settle()
    cluster.deploy(deployment("n", gib=4))
    made = cluster.settle()
    assert sum(len(decision.withdrawn) for decision in made) == 1
    assert cluster.placed() == {"n@1": ["a"]}
    assert len(lent(cluster)) == 2


def test_the_first_replica_may_evict_what_is_idle_and_further_ones_may_not() -> None:
    cluster = two()
    for model, where in (("x", "a"), ("y", "b")):
        cluster.deploy(deployment(model, gib=5, on_demand=True, on=on(where)))
        cluster.call(model)
    cluster.settle()
    cluster.wish("m", 2, 5)
    assert cluster.settle() == [], "they were called of late"
    cluster.now_s += RECENT_S
    cluster.settle()
    assert len(lent(cluster)["m@1"]) == 1
    assert len(cluster.placed()) == 1
    (reason,) = cluster.evictions.values()
    assert reason == "m@1 needed the room"
    cluster.now_s += WAIT_S
    assert cluster.settle() == []


def test_a_job_evicts_nothing_for_room_that_a_user_waits_for() -> None:
    cluster = Cluster(worker("a", 8))
    cluster.deploy(deployment("x", gib=5, on_demand=True))
    cluster.call("x")
    cluster.settle()
    cluster.now_s += RECENT_S
    cluster.deploy(deployment("n", gib=5))
    cluster.wish("m", 1, 5)
    cluster.settle()
    assert (cluster.placed(), lent(cluster)) == ({"n@1": ["a"]}, {})
    assert cluster.evictions == {key("x"): "n@1 needed the room"}


def test_what_a_job_wants_is_not_unloaded_while_it_is_awake() -> None:
    cluster = Cluster(worker("a", 8))
    cluster.deploy(deployment("x", gib=5, on_demand=True, idle_s=10))
    cluster.call("x")
    cluster.wish("x", 1, 5)
    cluster.settle()
    cluster.deploy(deployment("n", gib=5))
    cluster.now_s += WAIT_S
    assert cluster.settle() == []
    assert cluster.placed() == {"x@1": ["a"]}
    cluster.end()
    cluster.settle()
    assert cluster.placed() == {"n@1": ["a"]}


def test_what_sleeps_is_loaded_for_the_job_and_woken_in_its_place_by_a_call() -> None:
    cluster = Cluster(worker("a", 8))
    options = InstanceOptions(threads=3)
    cluster.deploy(deployment("x", gib=5, on_demand=True, idle_s=10, options=options))
    cluster.wish("x", 1, 5)
    cluster.settle()
    assert (cluster.placed(), lent(cluster)) == ({}, {"x@1": ["a"]})
    assert cluster.ready(key("x"), options) == 1
    cluster.call("x")
    cluster.decide()
    assert (cluster.placed(), lent(cluster), cluster.pending()) == ({"x@1": ["a"]}, {}, [])


def test_each_version_gets_its_first_replica_before_any_gets_more() -> None:
    cluster = two()
    cluster.wish("m", 2, 5, job="m")
    cluster.settle()
    cluster.wish("n", 2, 5, job="n")
    cluster.settle()
    assert sorted(map(len, lent(cluster).values())) == [1, 1]
    cluster.wish("o", 1, 5, job="o")
    assert cluster.settle() == [], "nobody has a replica to spare"


def test_a_first_replica_takes_the_room_of_one_that_its_user_has_elsewhere() -> None:
    cluster = two()
    cluster.deploy(deployment("m", gib=5))
    cluster.wish("m", 2, 5, job="m")
    cluster.settle()
    cluster.wish("n", 1, 5, job="n")
    cluster.settle()
    assert list(lent(cluster)) == ["n@1"]
    assert len(cluster.placed()["m@1"]) == 1


def test_where_it_fails_it_is_not_tried_again_for_a_while() -> None:
    cluster = two()
    cluster.broken = {("a", "m")}
    cluster.wish("m", 2)
    for _ in range(8):
        cluster.decide()
        for site in cluster.pending():
            cluster.step(site)
    cluster.settle()
    assert lent(cluster) == {"m@1": ["b"]}
    cluster.broken = set()
    cluster.now_s += AVOIDED_S
    cluster.settle()
    assert lent(cluster) == {"m@1": ["a", "b"]}


def test_a_failure_for_a_job_does_not_hold_up_a_users_change() -> None:
    cluster = two()
    cluster.broken = {("b", "m")}
    cluster.deploy(deployment("m", on=on("a")))
    cluster.settle()
    cluster.deploy(deployment("m"))
    cluster.wish("m", 2)
    cluster.decide()
    options = InstanceOptions(threads=3)
    cluster.deploy(deployment("m", options=options))
    assert [p.worker for p in cluster.decide().written if not p.internal] == ["a"]


def test_what_jobs_have_left_stays_as_it_is_and_makes_room_for_anybody() -> None:
    cluster = Cluster(*(worker(name, 8) for name in "abc"))
    cluster.wish("m", 2, 5)
    cluster.settle()
    cluster.wish("m", 0, 5)
    assert cluster.settle() == []
    cluster.drain(lent(cluster)["m@1"][0])
    cluster.settle()
    (left,) = lent(cluster)["m@1"]
    cluster.deploy(deployment("n", gib=5, on=on(left)))
    cluster.settle()
    assert lent(cluster) == {}


def test_what_answers_for_jobs_does_not_end_what_a_user_replaces() -> None:
    cluster = Cluster(worker("a", 8), worker("b", 8))
    cluster.deploy(deployment("m", on=on("a")))
    cluster.wish("m", 1, version="2")
    cluster.settle()
    (lent_to,) = lent(cluster)["m@2"]
    other = "b" if lent_to == "a" else "a"
    cluster.deploy(deployment("m", version="2", on=on(other), replaces=("1",)))
    while not cluster.instances.get((other, key("m", "2"))):
        assert not cluster.decide().complete
        for site in cluster.pending():
            cluster.step(site)
    cluster.settle()
    assert cluster.placed() == {"m@2": [other]}


def test_while_too_many_wait_jobs_get_nothing_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOST_HELPED", 2)
    cluster = Cluster(worker("a", 8))
    cluster.deploy(*(deployment(f"n{n}", gib=9) for n in range(3)))
    cluster.wish("m", 1)
    assert cluster.settle() == []
    cluster.undeploy("n0")
    cluster.settle()
    assert lent(cluster) == {"m@1": ["a"]}


def test_a_user_who_needs_more_for_what_he_has_gets_it() -> None:
    cluster = Cluster(worker("a", 8))
    cluster.deploy(deployment("m", gib=3))
    cluster.wish("n", 1, 4)
    cluster.settle()
    larger = dataclasses.replace(deployment("m", gib=6), options=InstanceOptions(copies=2))
    cluster.deploy(larger)
    decision = cluster.decide()
    assert [str(key(p.model)) for p in decision.withdrawn] == ["n@1"]
    assert [p.resources for p in decision.written] == [larger.resources]


def test_what_a_user_takes_over_is_not_reserved_twice() -> None:
    cluster = Cluster(worker("a", 8))
    cluster.wish("m", 1, 5)
    cluster.settle()
    cluster.deploy(deployment("m", gib=5), deployment("n", gib=3))
    cluster.decide()
    assert cluster.placed() == {"m@1": ["a"], "n@1": ["a"]}


def test_a_job_waits_until_a_user_has_what_was_evicted_for_him() -> None:
    cluster = two()
    for model, where in (("x", "a"), ("y", "b")):
        cluster.deploy(deployment(model, gib=5, on_demand=True, on=on(where)))
        cluster.call(model)
    cluster.settle()
    cluster.now_s += RECENT_S
    cluster.deploy(deployment("n", gib=5))
    cluster.wish("m", 1, 5)
    assert list(cluster.decide().unloaded.values()) == ["n@1 needed the room"]
    cluster.settle()
    assert (len(cluster.placed()["n@1"]), len(lent(cluster)["m@1"]), len(cluster.evictions)) == (1, 1, 2)


def test_jobs_get_nothing_of_the_room_that_will_be_a_users() -> None:
    cluster = Cluster(worker("a", 8))
    cluster.deploy(deployment("z", gib=6))
    cluster.settle()
    cluster.undeploy("z")
    cluster.deploy(deployment("n", gib=7))
    cluster.wish("m", 1, 2)
    assert not [p for decision in cluster.settle() for p in decision.written if p.internal]
    assert cluster.placed() == {"n@1": ["a"]}


def test_what_a_user_leaves_when_the_jobs_have_ended_goes() -> None:
    cluster = two()
    cluster.deploy(deployment("m"))
    cluster.wish("m", 2)
    cluster.settle()
    cluster.wish("m", 0)
    cluster.undeploy("m")
    cluster.settle()
    assert [len(sites) for sites in lent(cluster).values()] == [1]


def test_what_a_user_leaves_to_a_job_is_not_promised_to_another_user_before_it_is_gone() -> None:
    cluster = Cluster(worker("a", 8))
    cluster.deploy(deployment("m", gib=5))
    cluster.wish("m", 1, 5)
    cluster.settle()
    cluster.undeploy("m")
    cluster.deploy(deployment("n", gib=5))
    cluster.settle()
    assert (cluster.placed(), lent(cluster)) == ({"n@1": ["a"]}, {})


def test_a_gang_is_placed_together_or_not_at_all() -> None:
    cluster = Cluster(*(worker(name, 8) for name in "abc"))
    cluster.deploy(deployment("user", 1, 6))
    cluster.settle()
    cluster.wish("train", 4, gib=6, least=3)
    cluster.wish("other", 3, gib=6, job="of another", least=2)
    cluster.settle()
    assert lent(cluster).keys() == {"other@1"}
    assert len(lent(cluster)["other@1"]) == 2
    cluster.end("of another")
    cluster.settle()
    assert lent(cluster) == {}, "there is room for two of three"
    cluster.workers["d"] = worker("d", 8)
    cluster.settle()
    assert len(lent(cluster)["train@1"]) == 3
    cluster.workers["e"] = worker("e", 8)
    cluster.settle()
    assert len(lent(cluster)["train@1"]) == 4


def test_nobody_goes_for_a_part_of_a_gang() -> None:
    cluster = Cluster(worker("a", 8), worker("b", 2))
    cluster.deploy(deployment("idle", 1, 6, on_demand=True))
    cluster.call("idle")
    cluster.settle()
    cluster.now_s += RECENT_S + 1
    cluster.wish("train", 2, gib=6, least=2)
    cluster.settle()
    assert (cluster.placed(), lent(cluster)) == ({"idle@1": ["a"]}, {})
    cluster.workers["b"] = worker("b", 8)
    cluster.settle()
    assert lent(cluster) == {"train@1": ["a", "b"]}


def test_what_a_gang_needs_at_least_is_not_spared_for_other_jobs() -> None:
    cluster = Cluster(*(worker(name, 8) for name in "abc"))
    cluster.wish("train", 3, gib=6, least=2)
    cluster.settle()
    for number in range(2):
        cluster.wish(f"m{number}", 1, gib=6, job=f"job-{number}")
    cluster.settle()
    found = lent(cluster)
    assert len(found["train@1"]) == 2
    assert len(found) == 2
