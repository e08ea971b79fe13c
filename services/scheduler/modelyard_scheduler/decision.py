"""What the leader does about what it sees: all its policies in their order. Pure: a view in, a decision out."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from modelyard.deployment import Deployment, Instance, InstanceState, Placement, Worker
from modelyard.names import ModelVersion
from modelyard.reservation import Need, need_of
from modelyard_scheduler.eviction import Candidate, Evictions, Uses
from modelyard_scheduler.load import Load
from modelyard_scheduler.placement import Conditions, Outcome, Replicas, Site, assign
from modelyard_scheduler.rollout import due, is_outdated, placement_of, ready_replicas

MOST_PLACED = 250
"""So many replicas are placed at a time: between two decisions the leader renews its lease."""
MOST_HELPED = 50
"""For so many deployments that wait for room others may be evicted at a time; every second others are drawn."""


@dataclass(frozen=True)
class View:
    """What there is.

    Attributes:
        deployments: all of them.
        uses: what has activity keys: on-demand deployments that are called, and since when not.
        evicted: for which it is written down why they were unloaded.
        lingering: workers that vanished but may come back.
        avoided: which versions failed on which workers of late.
        reserved: what was reserved for the instances that there are, by `remember`.
        now_s: by the clock of `uses`.
    """

    deployments: Mapping[ModelVersion, Deployment]
    workers: Mapping[str, Worker]
    placements: Collection[Placement]
    instances: Collection[Instance]
    uses: Uses
    evicted: Collection[ModelVersion]
    lingering: Collection[str]
    avoided: Collection[Site]
    reserved: Mapping[Site, Need]
    now_s: float


@dataclass(frozen=True)
class Decision:
    """What is to be written.

    Attributes:
        withdrawn: placements that go.
        written: placements that come, and those that are changed; of no epoch yet.
        unloaded: the on-demand deployments whose activity ends, each with the reason.
        complete: deployments that answer in full, so that those they replace end.
        stray: activity keys that are nobody's: of what is not deployed, or not on demand.
        past: of what was unloaded, and is called again or no longer on demand.
    """

    withdrawn: Sequence[Placement]
    written: Sequence[Placement]
    unloaded: Mapping[ModelVersion, str]
    complete: Sequence[Deployment]
    stray: Sequence[ModelVersion]
    past: Sequence[ModelVersion]

    def __bool__(self) -> bool:
        """Whether there is anything to write."""
        placements = self.withdrawn or self.written
        return bool(placements or self.unloaded or self.complete or self.stray or self.past)


def version_of(record: Deployment | Placement | Instance) -> ModelVersion:
    """Of which version a record is."""
    return ModelVersion(record.model, record.version)


def is_wanted(deployment: Deployment, uses: Uses) -> bool:
    """Whether a deployment is to be loaded now. One that replaces others is, so that they can go."""
    return not deployment.on_demand or bool(deployment.replaces) or version_of(deployment) in uses.last


def decide(view: View) -> Decision:
    """Return what is to be written."""
    placements = {(version_of(p), p.worker): p for p in view.placements}
    wanted = {version: d for version, d in view.deployments.items() if is_wanted(d, view.uses)}
    conditions = _conditions(view, wanted, placements)
    outcome = assign(wanted.values(), view.workers, placements.values(), conditions)
    kept = {(version, worker) for version, workers in outcome.assignment.items() for worker in workers}
    new = [placement_of(wanted[version], worker) for version, worker in kept - set(placements)]
    changed = _changed(view, wanted, placements, outcome)
    return Decision(
        withdrawn=sorted((p for site, p in placements.items() if site not in kept), key=_order),
        written=sorted([*new, *changed], key=_order),
        unloaded=_unloaded(view, wanted, placements, outcome, conditions),
        complete=_complete(wanted, view),
        stray=sorted(v for v in view.uses.last if not _on_demand(v, view)),
        past=sorted(v for v in view.evicted if v in view.uses.last or not _on_demand(v, view)),
    )


def _on_demand(version: ModelVersion, view: View) -> bool:
    return version in view.deployments and view.deployments[version].on_demand


def _order(placement: Placement) -> tuple[str, str, str]:
    return placement.worker, placement.model, placement.version


def _conditions(view: View, wanted: Collection[ModelVersion], placements: Mapping[Site, Placement]) -> Conditions:
    ready = {(version_of(i), i.worker) for i in view.instances if i.state is InstanceState.READY}
    staying = {site for site in placements if site[0] in wanted}
    unloading = [
        (i.worker, _left(i, view))
        for i in view.instances
        if i.worker in view.workers and (version_of(i), i.worker) not in staying
    ]
    return Conditions(view.lingering, ready, view.avoided, unloading, MOST_PLACED)


def _left(instance: Instance, view: View) -> Need:
    """What an instance that is on its way out still takes: what was reserved, else what was measured."""
    site = (version_of(instance), instance.worker)
    return view.reserved.get(site) or Need(memory_bytes=instance.memory_bytes)


def remember(
    before: Mapping[Site, Need], placements: Iterable[Placement], instances: Iterable[Instance]
) -> dict[Site, Need]:
    """What is reserved where, with what was reserved for instances that are not gone yet."""
    left = ((version_of(i), i.worker) for i in instances)
    still = {site: before[site] for site in left if site in before}
    return still | {(version_of(p), p.worker): need_of(p) for p in placements}


def _changed(
    view: View, wanted: Mapping[ModelVersion, Deployment], placements: Mapping[Site, Placement], outcome: Outcome
) -> Iterable[Placement]:
    """The placements that take the options of their deployments now."""
    held = {
        version: [placements.get((version, w)) or placement_of(wanted[version], w) for w in workers]
        for version, workers in outcome.assignment.items()
        if any(is_outdated(placements.get((version, w)), wanted[version]) for w in workers)
    }
    instances: dict[ModelVersion, dict[str, Instance]] = {version: {} for version in held}
    for instance in view.instances if held else ():
        if version_of(instance) in held:
            instances[version_of(instance)][instance.worker] = instance
    fixed = {v: {*view.lingering, *(w for left, w in outcome.leaving if left == v)} for v in held}
    return [p for v, those in held.items() for p in due(wanted[v], those, instances[v], fixed[v])]


def _unloaded(
    view: View,
    wanted: Mapping[ModelVersion, Deployment],
    placements: Mapping[Site, Placement],
    outcome: Outcome,
    conditions: Conditions,
) -> dict[ModelVersion, str]:
    """The on-demand deployments that nobody calls any more, and those that make room for others."""
    reserved = _reserved(wanted, placements, outcome)
    demanded = {v: d for v, d in wanted.items() if v in view.uses.last and not d.replaces and d.on_demand}
    reasons = {v: view.uses.expired(d, v in reserved, view.now_s) for v, d in demanded.items()}
    ended = {version: reason for version, reason in reasons.items() if reason}
    waiting = [one for one in outcome.waiting if one.version not in ended]
    candidates = [
        Candidate(v, view.uses.idle_s(v, view.now_s), {w: n for w, n in reserved[v].items() if w in view.workers})
        for v in demanded
        if v in reserved and v not in ended and view.uses.evictable(v, view.now_s)
    ]
    if not waiting or not candidates:
        return ended
    freed = _without_what_goes(outcome.load, conditions, (reserved.get(v, {}) for v in ended))
    chosen = Evictions(candidates, freed, conditions).choose(_drawn(waiting, view.now_s))
    return {**ended, **{victim: f"{for_whom} needed the room" for victim, for_whom in chosen.items()}}


def _drawn(waiting: Sequence[Replicas], now_s: float) -> Sequence[Replicas]:
    """Some of many, in their order; those for whom nothing can be done do not keep the others from it."""
    if len(waiting) <= MOST_HELPED:
        return waiting
    draw = random.Random(int(now_s))  # noqa: S311 (not a secret)
    return [waiting[index] for index in sorted(draw.sample(range(len(waiting)), MOST_HELPED))]


def _reserved(
    wanted: Mapping[ModelVersion, Deployment], placements: Mapping[Site, Placement], outcome: Outcome
) -> dict[ModelVersion, dict[str, Need]]:
    """What the on-demand deployments take where they are placed, or will be."""
    on_demand = {v: workers for v, workers in outcome.assignment.items() if workers and wanted[v].on_demand}
    return {
        v: {w: need_of(placements[v, w] if (v, w) in outcome.leaving else wanted[v]) for w in workers}
        for v, workers in on_demand.items()
    }


def _without_what_goes(load: Load, conditions: Conditions, ended: Iterable[Mapping[str, Need]]) -> Load:
    """What will be reserved when all that is on its way out is gone."""
    for worker_id, need in conditions.unloading:
        load.add(worker_id, need, -1)
    for reserved in ended:
        for worker_id, need in reserved.items():
            load.add(worker_id, need, -1)
    return load


def _complete(wanted: Mapping[ModelVersion, Deployment], view: View) -> list[Deployment]:
    """The deployments that replace others, and answer in full."""
    replacing: dict[ModelVersion, list[Instance]] = {v: [] for v in sorted(wanted) if wanted[v].replaces}
    for instance in view.instances if replacing else ():
        if version_of(instance) in replacing:
            replacing[version_of(instance)].append(instance)
    return [wanted[v] for v, found in replacing.items() if ready_replicas(wanted[v], found) >= wanted[v].replicas]
