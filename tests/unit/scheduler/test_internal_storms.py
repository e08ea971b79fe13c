"""Random jobs beside random events: users have what they would have without them, and all comes to rest."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from collections.abc import Mapping

import pytest

from modelyard.catalogue import Resources
from modelyard.deployment import Deployment, InstanceOptions, Placement
from modelyard.names import ModelVersion
from modelyard_scheduler.decision import version_of
from modelyard_scheduler.load import selected
from tests.unit.scheduler.simulation import GIB, Cluster, deployment, key, on, worker
from tests.unit.scheduler.test_storms import happen

PLENTY_GIB = 400


@pytest.mark.parametrize("seed", range(8))
def test_where_there_is_room_users_have_the_very_same_placements_as_without_jobs(seed: int) -> None:
    draw, jobs = random.Random(seed), random.Random(-seed)
    alone, beside = Cluster(), Cluster()
    for step in range(40):
        event = draw.random()
        for cluster in (alone, beside):
            change(cluster, random.Random(event))
        begin_or_end(beside, jobs)
        for cluster in (alone, beside):
            cluster.settle()
        assert beside.placed() == alone.placed(), step
        assert all(len(sites) == wanted(beside, name) for name, sites in beside.placed(internal=True).items())


def change(cluster: Cluster, draw: random.Random) -> None:
    """Something that operators or machines do, where there is room for everything."""
    model, name = f"m{draw.randint(0, 9)}", f"w{draw.randint(0, 5)}"
    match draw.randint(0, 5):
        case 0 if len(cluster.workers) > 3:
            cluster.workers.pop(name, None)
            cluster.instances = {site: i for site, i in cluster.instances.items() if site[0] in cluster.workers}
        case 1 if name in cluster.workers and len(cluster.workers) > 3:
            cluster.drain(name)
        case 2 | 1 | 0:
            cluster.workers[name] = worker(name, PLENTY_GIB, zone=draw.choice("ab"))
        case 3:
            cluster.undeploy(model)
        case _:
            where = on(zone=draw.choice("ab")) if draw.random() < 0.3 else on()
            options = InstanceOptions(threads=draw.randint(0, 2))
            cluster.deploy(deployment(model, draw.randint(1, 4), gib(model), on=where, options=options))


def gib(model: str) -> int:
    """What each version of a model needs, whoever wants it."""
    return 1 + sum(model.encode()) % 5


def begin_or_end(cluster: Cluster, draw: random.Random) -> None:
    """A job begins, wants another number of workers, or ends; some want what users may deploy."""
    job, model = f"job{draw.randint(0, 3)}", draw.choice([f"m{draw.randint(0, 9)}", f"j{draw.randint(0, 2)}"])
    cluster.end(job)
    if draw.random() < 0.7:
        cluster.wish(model, draw.randint(1, 6), gib(model), job)


def wanted(cluster: Cluster, name: str) -> int:
    """How many internal replicas there are to be where there is room for all."""
    model, _, version = name.partition("@")
    internal = cluster.internal()[key(model, version)]
    able = [w for w in cluster.workers.values() if selected(internal.on, w) and not w.draining]
    users = cluster.placed().get(name, [])
    free = sum(w.id not in users for w in able)
    return min(internal.replicas - len(users), free)


@pytest.mark.parametrize("seed", range(8))
def test_where_there_is_little_room_nobody_waits_for_what_a_job_has(seed: int) -> None:
    draw = random.Random(seed)
    cluster = Cluster(*(worker(f"w{n}", draw.randint(6, 14), zone=draw.choice("ab")) for n in range(6)))
    for _ in range(25):
        happen(cluster, draw)
        sizes = ((d, Resources(memory_bytes=gib(d.model) * GIB)) for d in cluster.deployments.values())
        cluster.deploy(*[dataclasses.replace(d, resources=size) for d, size in sizes])
        begin_or_end(cluster, draw)
        cluster.settle(draw)
        assert_users_first(cluster)
        assert_first_replicas_first(cluster)


def assert_users_first(cluster: Cluster) -> None:
    """Nobody who lacks a replica could have one if there were no jobs."""
    users = {site: p for site, p in cluster.placements.items() if not p.internal}
    for version, one in cluster.deployments.items():
        asleep = one.on_demand and version not in cluster.activities
        lacking = sum(placed == version for _, placed in users) < one.replicas
        assert asleep or not lacking or not places(cluster, one, users), version


def assert_first_replicas_first(cluster: Cluster) -> None:
    """No version that jobs want has none while there is room for one."""
    there = {version for _, version in cluster.placements}
    for version, one in cluster.internal().items():
        assert version in there or not one.replicas or not places(cluster, one, cluster.placements), version


def places(cluster: Cluster, one: Deployment, placed: Mapping[tuple[str, ModelVersion], Placement]) -> list[str]:
    """The workers that could take a replica if only this were placed."""
    taken: Counter[str] = Counter()
    for (name, _), placement in placed.items():
        taken[name] += placement.resources.memory_bytes
    return [
        name
        for name, w in cluster.workers.items()
        if (name, version_of(one)) not in placed and selected(one.on, w) and not w.draining
        if taken[name] + one.resources.memory_bytes <= w.memory_bytes
    ]
