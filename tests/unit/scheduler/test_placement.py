"""Weighted rendezvous hashing: what moves, what must not, and what never fits."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

import pytest

from modelyard.catalogue import Resources
from modelyard.deployment import Deployment, Placement, Worker
from modelyard.names import ModelVersion
from modelyard_scheduler import placement
from modelyard_scheduler.load import BOUND
from modelyard_scheduler.placement import Assignment, Conditions, Site
from modelyard_scheduler.preference import preference, score

GIB = 1 << 30


def worker(name: str, memory_bytes: int = 64 * GIB, cpu: float = 8.0) -> Worker:
    return Worker(name, "127.0.0.1:1", cpu, memory_bytes, incarnation=name)


def workers(count: int, memory_bytes: int = 64 * GIB) -> dict[str, Worker]:
    return {f"w{i:03}": worker(f"w{i:03}", memory_bytes) for i in range(count)}


def deployment(model: str, replicas: int = 1, memory_bytes: int = GIB, **needs: float) -> Deployment:
    return Deployment(model, "1", replicas, Resources(memory_bytes=memory_bytes, **needs), "d" * 64, "onnx")  # type: ignore[arg-type]


def assign(
    deployments: Iterable[Deployment],
    live: Mapping[str, Worker],
    current: Assignment,
    lingering: Collection[str] = (),
    ready: Collection[Site] = (),
) -> Assignment:
    """Placements with the needs of their deployments; what is not deployed had none."""
    wanted = {ModelVersion(d.model, d.version): d for d in deployments}
    placements = [
        Placement(v.model, v.version, w, "d" * 64, "onnx", wanted[v].resources if v in wanted else Resources(), 1)
        for v, names in current.items()
        for w in names
    ]
    conditions = Conditions(lingering=lingering, ready=ready)
    return placement.assign(wanted.values(), live, placements, conditions).assignment


def key(model: str) -> ModelVersion:
    return ModelVersion(model, "1")


def reserved(assignment: Assignment, deployments: Iterable[Deployment]) -> Counter[str]:
    sizes = {ModelVersion(d.model, d.version): d.resources.memory_bytes for d in deployments}
    total: Counter[str] = Counter()
    for version, places in assignment.items():
        total.update(dict.fromkeys(places, sizes[version]))
    return total


@pytest.mark.parametrize(
    ("version", "name", "expected"),
    [
        (ModelVersion("digits", "1"), "worker-0", 0.4220768857753666),
        (ModelVersion("digits", "1"), "worker-1", 0.6681702946195193),
        (ModelVersion("digits", "2"), "worker-0", 0.9562469121310609),
        (ModelVersion("modèle", "7"), "gpu-a", 4.85119988508713),
    ],
)
def test_scores_are_the_same_in_every_release_and_process(version: ModelVersion, name: str, expected: float) -> None:
    assert score(version, name, 1.0) == pytest.approx(expected, rel=1e-12)
    assert score(version, name, 16.0) == pytest.approx(16 * expected, rel=1e-12)


def test_the_order_of_the_workers_does_not_matter() -> None:
    few = list(workers(20).values())
    shuffled = random.Random(1).sample(few, len(few))
    assert preference(key("m"), few) == preference(key("m"), shuffled)


def test_a_worker_that_leaves_moves_only_what_was_on_it() -> None:
    everyone = workers(50)
    models = [key(f"m{i}") for i in range(5000)]
    before = {m: preference(m, everyone.values())[0].id for m in models}
    left = {name: w for name, w in everyone.items() if name != "w007"}
    after = {m: preference(m, left.values())[0].id for m in models}
    moved = [m for m in models if before[m] != after[m]]
    assert moved == [m for m in models if before[m] == "w007"]
    assert len(moved) / len(models) == pytest.approx(1 / 50, abs=0.01)


def test_a_worker_that_joins_takes_only_what_it_gets() -> None:
    everyone = workers(50)
    models = [key(f"m{i}") for i in range(5000)]
    before = {m: preference(m, everyone.values())[0].id for m in models}
    everyone["new"] = worker("new")
    moved = {m for m in models if preference(m, everyone.values())[0].id != before[m]}
    assert all(preference(m, everyone.values())[0].id == "new" for m in moved)
    assert len(moved) / len(models) == pytest.approx(1 / 51, abs=0.01)


def test_a_worker_of_four_times_the_memory_is_preferred_four_times_as_often() -> None:
    unequal = [worker("small", 16 * GIB), worker("large", 64 * GIB)]
    first = Counter(preference(key(f"m{i}"), unequal)[0].id for i in range(5000))
    assert first["large"] / first["small"] == pytest.approx(4.0, rel=0.15)


def test_equal_state_gives_equal_decisions_whatever_the_order() -> None:
    deployments = [deployment(f"m{i}", 2) for i in range(30)]
    shuffled = random.Random(2).sample(deployments, len(deployments))
    backwards = dict(reversed(workers(7).items()))
    assert assign(deployments, workers(7), {}) == assign(shuffled, backwards, {})


def test_load_stays_below_the_bound() -> None:
    deployments = [deployment(f"m{i}") for i in range(400)]
    loads = reserved(assign(deployments, workers(40), {}), deployments)
    mean = sum(loads.values()) / 40
    assert max(loads.values()) / mean <= BOUND


def test_the_bound_counts_what_a_worker_has() -> None:
    unequal = {"small": worker("small", 8 * GIB), "large": worker("large", 24 * GIB)}
    deployments = [deployment(f"m{i}") for i in range(24)]
    loads = reserved(assign(deployments, unequal, {}), deployments)
    assert loads["small"] / (8 * GIB) <= BOUND * 24 / 32
    assert loads["large"] / (24 * GIB) <= BOUND * 24 / 32


def test_what_fits_nowhere_below_the_bound_goes_where_it_fits() -> None:
    assert assign([deployment("m", 3)], workers(3), {})[key("m")] != []
    assert len(assign([deployment("m", 3)], workers(3), {})[key("m")]) == 3


@pytest.mark.parametrize("seed", range(5))
def test_memory_is_never_promised_twice(seed: int) -> None:
    draw = random.Random(seed)
    everyone = {f"w{i}": worker(f"w{i}", draw.randint(4, 16) * GIB) for i in range(6)}
    deployments = [deployment(f"m{i}", draw.randint(1, 4), draw.randint(1, 6) * GIB) for i in range(40)]
    placed: Assignment = {}
    for _ in range(30):
        draw.shuffle(deployments)
        wanted = deployments[: draw.randint(0, 40)]
        live = {n: everyone[n] for n in draw.sample(sorted(everyone), draw.randint(2, 6))}
        placed = assign(wanted, live, placed)
        assert all(size <= live[name].memory_bytes for name, size in reserved(placed, wanted).items())
        assert all(len(set(places)) == len(places) for places in placed.values())


def test_replicas_stand_on_distinct_workers_and_no_more_than_there_are() -> None:
    places = assign([deployment("m", 5)], workers(3), {})[key("m")]
    assert sorted(places) == sorted(workers(3))


def test_what_is_placed_stays_even_where_another_worker_is_preferred() -> None:
    last = preference(key("m"), workers(5).values())[-1].id
    assert assign([deployment("m")], workers(5), {key("m"): [last]})[key("m")] == [last]


def test_a_lost_worker_is_replaced_and_the_other_replica_stays() -> None:
    before = assign([deployment("m", 2)], workers(4), {})
    lost, stays = before[key("m")]
    live = {n: w for n, w in workers(4).items() if n != lost}
    after = assign([deployment("m", 2)], live, before)[key("m")]
    assert after[0] == stays
    assert len(after) == 2
    assert lost not in after


def test_a_lingering_worker_keeps_its_replica_and_no_other_is_made() -> None:
    assert assign([deployment("m")], workers(3), {key("m"): ["away"]}, {"away"}) == {key("m"): ["away"]}
    assert assign([deployment("m")], workers(3), {key("m"): ["away"]})[key("m")] != ["away"]


def test_a_surplus_is_taken_from_lingering_workers_first_then_from_those_that_do_not_answer() -> None:
    best, middle, worst = (w.id for w in preference(key("m"), workers(3).values()))
    current = {key("m"): [best, "away", worst, middle]}
    assert assign([deployment("m", 3)], workers(3), current, {"away"})[key("m")] == [best, middle, worst]
    ready = {(key("m"), worst)}
    assert assign([deployment("m", 1)], workers(3), current, {"away"}, ready)[key("m")] == [worst]


def test_what_is_no_longer_wanted_is_not_in_the_answer() -> None:
    assert assign([], workers(2), {key("gone"): ["w000"]}) == {}


def test_a_worker_that_came_back_smaller_gives_up_what_it_cannot_hold() -> None:
    current = {key("a"): ["w000"], key("b"): ["w000"]}
    deployments = [deployment("a", memory_bytes=3 * GIB), deployment("b", memory_bytes=3 * GIB)]
    assert assign(deployments, workers(1, 4 * GIB), current) == {key("a"): ["w000"], key("b"): []}
    both = assign(deployments, {**workers(1, 4 * GIB), "other": worker("other")}, current)
    assert both == {key("a"): ["w000"], key("b"): ["other"]}


def test_nothing_is_placed_where_no_worker_is() -> None:
    assert assign([deployment("m", 2)], {}, {}) == {key("m"): []}
