"""Random events, and agents that take their steps in any order: what holds whatever happens."""

from __future__ import annotations

import dataclasses
import random

import pytest

from modelyard.deployment import InstanceOptions
from tests.unit.scheduler.simulation import Cluster, deployment, key, on, worker


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_nothing_is_promised_twice_and_all_that_can_be_served_is(seed: int) -> None:
    draw = random.Random(seed)
    cluster = Cluster(*(worker(f"w{n}", draw.randint(6, 14), zone=draw.choice("ab")) for n in range(6)))
    for _ in range(25):
        happen(cluster, draw)
        cluster.settle(draw)
        assert_pins_are_kept(cluster)
        assert_distinct(cluster)


def happen(cluster: Cluster, draw: random.Random) -> None:
    """Something that operators, callers or machines do."""
    model, name = f"m{draw.randint(0, 14)}", f"w{draw.randint(0, 5)}"
    known = cluster.deployments.get(key(model))
    match draw.randint(0, 6):
        case 0 if name in cluster.workers and len(cluster.workers) > 2:
            cluster.crash(name)
        case 1 if name in cluster.workers and len(cluster.workers) > 2:
            cluster.drain(name)
        case 2:
            cluster.crash(name) if name in cluster.workers else None
            cluster.workers[name] = worker(name, draw.randint(6, 14), zone=draw.choice("ab"))
        case 3:
            cluster.undeploy(model)
        case 4 if known:
            options = InstanceOptions(threads=draw.randint(0, 4))
            cluster.deploy(dataclasses.replace(known, options=options, replicas=draw.randint(1, 3)))
        case _:
            where = on(zone=draw.choice("ab")) if draw.random() < 0.3 else on()
            new = deployment(model, draw.randint(1, 3), draw.randint(1, 5), on=where, on_demand=draw.random() < 0.5)
            cluster.deploy(known or new)
    cluster.now_s += draw.choice([0, 5, 10, 200])
    for version in list(cluster.deployments):
        if cluster.deployments[version].on_demand and draw.random() < 0.3:
            cluster.call(version.model)


def assert_pins_are_kept(cluster: Cluster) -> None:
    for (name, version), placement in cluster.placements.items():
        label = dict(cluster.deployments[version].on.labels).get("zone")
        drains = cluster.workers[name].draining
        assert label in {None, cluster.workers[name].labels["zone"]} or cluster.ready(version), placement
        assert not drains or cluster.ready(version), placement


def assert_distinct(cluster: Cluster) -> None:
    for version, places in cluster.placed().items():
        assert len(set(places)) == len(places)
        model, _, number = version.partition("@")
        assert len(places) <= cluster.deployments[key(model, number)].replicas


@pytest.mark.parametrize("seed", range(6))
def test_while_workers_are_restarted_one_by_one_every_model_answers(seed: int) -> None:
    draw = random.Random(seed)
    cluster = Cluster(*(worker(f"w{n}", 24) for n in range(4)))
    cluster.deploy(*(deployment(f"m{n}", draw.randint(1, 2), draw.randint(1, 4)) for n in range(12)))
    cluster.settle(draw)
    for name in sorted(cluster.workers):
        cluster.drain(name)
        for _ in range(200):
            cluster.decide()
            pending = cluster.pending()
            for site in draw.sample(pending, draw.randint(0, len(pending))):
                cluster.step(site)
            assert all(cluster.ready(version) >= d.replicas for version, d in cluster.deployments.items())
            if not any(place == name for place, _ in cluster.placements) and not cluster.pending():
                break
        cluster.crash(name)
        cluster.workers[name] = worker(name, 24)
    cluster.settle(draw)


@pytest.mark.parametrize("seed", range(6))
def test_only_what_was_on_a_lost_worker_moves(seed: int) -> None:
    draw = random.Random(seed)
    cluster = Cluster(*(worker(f"w{n}", 32) for n in range(8)))
    cluster.deploy(*(deployment(f"m{n}", draw.randint(1, 3), draw.randint(1, 3)) for n in range(30)))
    cluster.settle(draw)
    before = set(cluster.placements)
    lost = draw.choice(sorted(cluster.workers))
    cluster.crash(lost)
    cluster.settle(draw)
    assert {site for site in before if site[0] != lost} <= set(cluster.placements)
    assert len(cluster.placements) == len(before)
