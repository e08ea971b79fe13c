"""Where replicas go: rendezvous hashing with bounded load. Pure: state in, decisions out.

A replica goes to the first worker of its version's preference list that can hold it and whose load would stay below
1.25 times the mean, else to the first that can hold it. What is placed stays while its worker lives, so that only what
must move moves.

A replica must move if its worker drains, is not selected any more, cannot hold what the version needs by now, or failed
to run it. One that answers stays beside its successor until that answers. One that failed stays if nobody else can hold
it; one on a worker that drains goes at once if nobody else could ever hold it.

Source of the bound: Mirrokni, Thorup and Zadimoghaddam, "Consistent hashing with bounded loads" (2016).
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from modelyard.deployment import Deployment, Placement, Worker
from modelyard.names import ModelVersion
from modelyard.reservation import Need, need_of
from modelyard_scheduler.load import Load, has_room, selected, unfit
from modelyard_scheduler.preference import preference, score

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
        internal: what replicas for jobs have reserved where. It is not free either; but a replica of the same version
            may take the place of one, and nobody's choice depends on it.
    """

    lingering: Collection[str] = ()
    ready: Collection[Site] = ()
    avoided: Collection[Site] = ()
    unloading: Sequence[tuple[str, Need]] = ()
    most: int = sys.maxsize
    internal: Mapping[ModelVersion, Mapping[str, Need]] = field(default_factory=dict)


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
    """What was decided.

    Attributes:
        assignment: the workers of each version, those still included that are to be left.
        waiting: who waits for room.
        load: what is reserved.
        most: how many more replicas may be placed now.
    """

    assignment: Assignment
    leaving: Collection[Site]
    waiting: Sequence[Replicas]
    load: Load
    most: int


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
        sort_out(one, held.get(one.version, {}), load, conditions)
    for reserved in conditions.internal.values():
        for worker_id, need in reserved.items():
            load.add_apart(worker_id, need)
    for worker_id, need in conditions.unloading:
        load.add_apart(worker_id, need)
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
        left,
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


def sort_out(one: Replicas, held: Mapping[str, Need], load: Load, conditions: Conditions) -> None:
    """Tell who stays from who is to leave: who must move, and who is too many, first of all what does not answer."""
    ranked = sorted(held)
    if len(held) > one.missing:
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
    own = conditions.internal.get(one.version, {})
    for worker_id, need in own.items():
        load.add_apart(worker_id, need, -1)
    placed = _place_anywhere(one, load, conditions, wanted)
    for worker_id, need in own.items():
        if worker_id not in one.stay:
            load.add_apart(worker_id, need)
    one.without_room = one.missing if placed < wanted else 0
    return placed


def _place_anywhere(one: Replicas, load: Load, conditions: Conditions, wanted: int) -> int:
    placed = place(one, load, conditions, wanted)
    if placed < wanted and conditions.avoided:
        # Where it failed it is tried anew rather than nowhere; what is there already is not moved to and fro.
        anywhere = replace(conditions, avoided=())
        placed += place(one, load, anywhere, wanted - placed - len(one.leave))
    return placed


def place(one: Replicas, load: Load, conditions: Conditions, wanted: int) -> int:
    """Place so many replicas, or as many as there is room for; return how many."""
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
