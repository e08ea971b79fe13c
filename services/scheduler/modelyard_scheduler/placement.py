"""Where replicas go: weighted rendezvous hashing with bounded load. Pure: state in, decisions out.

Every (version, worker) pair has a score; a version's preference list is the workers by descending score. A replica
goes to the first worker of that list that can hold it and whose load would stay below 1.25 times the mean, else to the
first that can hold it. What is placed stays while its worker lives, so that only what must move moves.

A replica must move if its worker drains, is not selected any more, cannot hold what the version needs by now, or failed
to run it. One that answers stays beside its successor until that answers. One that failed stays if nobody else can hold
it; one on a worker that drains goes at once if nobody else could ever hold it.

Sources: Thaler and Ravishankar, "Using name-based mappings to increase hit rates" (1998); the weights after
Schindelhauer and Schomaker, "Weighted distributed hash tables" (2005); the bound after Mirrokni, Thorup and
Zadimoghaddam, "Consistent hashing with bounded loads" (2016). The hash is XXH3-64 with seed 0 of
"model@version|worker" in UTF-8.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import xxhash

from modelyard.deployment import Deployment, Placement, Worker
from modelyard.names import ModelVersion
from modelyard.reservation import Need, need_of
from modelyard_scheduler.load import Load, has_room, selected, unfit


def score(version: ModelVersion, worker_id: str, weight: float) -> float:
    """The rank of a worker for a version: the greatest is preferred, a worker of twice the weight twice as often."""
    return _score(f"{version}|", worker_id, weight)


def _score(version: str, worker_id: str, weight: float) -> float:
    draw = (xxhash.xxh3_64_intdigest(f"{version}{worker_id}".encode()) + 0.5) / 2.0**64
    return -weight / math.log(draw)


def preference(version: ModelVersion, workers: Iterable[Worker]) -> list[Worker]:
    """The workers in the order in which a version prefers them; weights are their memory."""
    name = f"{version}|"
    return sorted(workers, key=lambda w: _score(name, w.id, w.memory_bytes), reverse=True)


Assignment = dict[ModelVersion, list[str]]
"""The workers of each version."""
Site = tuple[ModelVersion, str]
"""A version on a worker."""


def assignment_of(placements: Iterable[Placement]) -> Assignment:
    """What is placed where."""
    found: Assignment = {}
    for placement in placements:
        found.setdefault(ModelVersion(placement.model, placement.version), []).append(placement.worker)
    return found


@dataclass(frozen=True)
class Conditions:
    """What is decided upon besides deployments, workers and placements.

    Attributes:
        lingering: workers that vanished but may come back; what is on them is neither moved nor counted as lost.
        ready: which versions answer on which workers.
        avoided: which versions failed on which workers of late.
        unloading: what is on its way out of which workers: its room is not free yet.
        most: how many replicas are placed at a time.
    """

    lingering: Collection[str] = ()
    ready: Collection[Site] = ()
    avoided: Collection[Site] = ()
    unloading: Sequence[tuple[str, Need]] = ()
    most: int = sys.maxsize


@dataclass
class Replicas:
    """Of one version: the workers that it stays on, those that it is to leave, and what it lacks room for."""

    version: ModelVersion
    deployment: Deployment
    need: Need
    stay: list[str] = field(default_factory=list)
    leave: dict[str, Need] = field(default_factory=dict)
    without_room: int = 0

    @property
    def missing(self) -> int:
        """How many are not placed."""
        return self.deployment.replicas - len(self.stay)


@dataclass(frozen=True)
class Outcome:
    """The workers of each version, those still included that are to be left; who waits for room; what is reserved."""

    assignment: Assignment
    leaving: Collection[Site]
    waiting: Sequence[Replicas]
    load: Load


def assign(
    deployments: Iterable[Deployment],
    workers: Mapping[str, Worker],
    placements: Iterable[Placement],
    conditions: Conditions = Conditions(),
) -> Outcome:
    """Return which workers each deployed version shall be on, given the live workers and what is placed now."""
    everything = {version.version: version for version in map(_replicas, deployments)}
    ordered = [everything[version] for version in sorted(everything)]
    load = Load(workers)
    held = _hold(everything, placements, load, conditions)
    for one in ordered:
        _sort_out(one, held.get(one.version, {}), load, conditions)
    for worker_id, need in conditions.unloading:
        load.add(worker_id, need)
    left = conditions.most
    for one in sorted(ordered, key=lambda r: r.deployment.on_demand):
        left -= _fill(one, load, conditions, left)
    for one in ordered:
        _settle(one, load, conditions)
    return Outcome(
        {one.version: [*one.stay, *one.leave] for one in ordered},
        {(one.version, worker) for one in ordered for worker in one.leave},
        [one for one in ordered if one.without_room],
        load,
    )


def _replicas(deployment: Deployment) -> Replicas:
    return Replicas(ModelVersion(deployment.model, deployment.version), deployment, need_of(deployment))


def _hold(
    wanted: Collection[ModelVersion], placements: Iterable[Placement], load: Load, conditions: Conditions
) -> dict[ModelVersion, dict[str, Need]]:
    """What was reserved, where it still can be: a worker may be gone, or have come back with less memory."""
    held: dict[ModelVersion, dict[str, Need]] = {}
    for placement in sorted(placements, key=lambda p: (p.model, p.version, p.worker)):
        version, need = ModelVersion(placement.model, placement.version), need_of(placement)
        worker = load.workers.get(placement.worker)
        there = has_room(need, worker, load) if worker else placement.worker in conditions.lingering
        if there and version in wanted:
            load.add(placement.worker, need)
            held.setdefault(version, {})[placement.worker] = need
    return held


def _sort_out(one: Replicas, held: Mapping[str, Need], load: Load, conditions: Conditions) -> None:
    """Tell who stays from who is to leave: who must move, and who is too many, first of all what does not answer."""
    ranked = sorted(held)
    if len(held) > one.deployment.replicas:
        ranked.sort(key=lambda w: ((one.version, w) in conditions.ready, _rank(one.version, w, load)), reverse=True)
    for worker_id in ranked:
        if one.missing and _may_stay(one, worker_id, held[worker_id], load, conditions):
            one.stay.append(worker_id)
        else:
            one.leave[worker_id] = held[worker_id]


def _rank(version: ModelVersion, worker_id: str, load: Load) -> float:
    worker = load.workers.get(worker_id)
    return score(version, worker_id, worker.memory_bytes) if worker else 0.0


def _may_stay(one: Replicas, worker_id: str, reserved: Need, load: Load, conditions: Conditions) -> bool:
    """Whether a replica need not move; then what it needs by now is reserved in the place of what was."""
    worker = load.workers.get(worker_id)
    if worker and not _open(one, worker, conditions):
        return False
    load.add(worker_id, reserved, -1)
    stays = worker is None or has_room(one.need, worker, load)
    load.add(worker_id, one.need if stays else reserved)
    return stays


def _open(one: Replicas, worker: Worker, conditions: Conditions) -> bool:
    avoided = (one.version, worker.id) in conditions.avoided
    return not worker.draining and not avoided and selected(one.deployment.on, worker)


def open_to(one: Replicas, load: Load, conditions: Conditions) -> Iterator[Worker]:
    """The workers that a version may newly be placed on, whether or not they can hold it."""
    named = one.deployment.on.workers
    among = (load.workers[w] for w in dict.fromkeys(named) if w in load.workers) if named else load.workers.values()
    taken = {*one.stay, *one.leave}
    return (w for w in among if w.id not in taken and _open(one, w, conditions))


def _fill(one: Replicas, load: Load, conditions: Conditions, most: int) -> int:
    """Place what is missing; return how many were."""
    wanted = min(one.missing, most)
    if not wanted:
        return 0
    placed = _place(one, load, conditions, wanted)
    if placed < wanted and conditions.avoided:
        # Where it failed it is tried anew rather than nowhere; what is there already is not moved to and fro.
        anywhere = replace(conditions, avoided=())
        placed += _place(one, load, anywhere, wanted - placed - len(one.leave))
    one.without_room = one.missing if placed < wanted else 0
    return placed


def _place(one: Replicas, load: Load, conditions: Conditions, wanted: int) -> int:
    if wanted <= 0:
        return 0
    ranked = preference(one.version, (w for w in open_to(one, load, conditions) if has_room(one.need, w, load)))
    chosen: list[Worker] = []
    while ranked and len(chosen) < wanted:
        chosen.append(next((w for w in ranked if load.within_bound(w, one.need)), ranked[0]))
        ranked.remove(chosen[-1])
        one.stay.append(chosen[-1].id)
        load.add(chosen[-1].id, one.need)
    return len(chosen)


def _settle(one: Replicas, load: Load, conditions: Conditions) -> None:
    """Of the replicas that are to leave, keep those that are still of use."""
    answering = sum(w in conditions.lingering or (one.version, w) in conditions.ready for w in one.stay)
    draining = {w for w in one.leave if w in load.workers and load.workers[w].draining}
    if one.missing and not _could_move(one, load, conditions):
        _drop(one, draining, load)
    answer = [w for w in one.leave if (one.version, w) in conditions.ready]
    failed = [w for w in one.leave if (one.version, w) in conditions.avoided and w not in draining and w not in answer]
    of_use = answer[: max(one.deployment.replicas - answering, 0)]
    of_use += failed[: max(one.missing - len(of_use), 0)]
    _drop(one, set(one.leave) - set(of_use), load)


def _drop(one: Replicas, gone: Collection[str], load: Load) -> None:
    for worker_id in gone:
        load.add(worker_id, one.leave.pop(worker_id), -1)


def _could_move(one: Replicas, load: Load, conditions: Conditions) -> bool:
    """Whether a worker that is not taken could hold a replica, at least if it were empty."""
    return any(not unfit(one.need, worker) for worker in open_to(one, load, conditions))
