"""What the leader does about what it sees: all its policies in their order. Pure: a view in, a decision out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from modelyard.deployment import Deployment, Instance, InstanceState, Placement, Worker
from modelyard.names import ModelVersion
from modelyard.reservation import Need, need_of
from modelyard_scheduler.eviction import Uses
from modelyard_scheduler.placement import Conditions, Site, assign
from modelyard_scheduler.rollout import Kept, ready_replicas
from modelyard_scheduler.room import Clearing, Wanted

MOST_PLACED = 250
"""So many replicas are placed at a time: between two decisions the leader renews its lease."""


@dataclass(frozen=True)
class View:
    """What there is.

    Attributes:
        deployments: all that users have deployed.
        jobs: internal deployments: what jobs want loaded.
        uses: what has activity keys: on-demand deployments that are called, and since when not.
        evicted: for which it is written down why they were unloaded.
        lingering: workers that vanished but may come back.
        avoided: which versions failed on which workers of late.
        reserved: what was reserved for the instances that there are, by `remember`.
        now_s: by the clock of `uses`.
    """

    deployments: Mapping[ModelVersion, Deployment]
    jobs: Mapping[ModelVersion, Deployment]
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
    outcome = assign(wanted.values(), view.workers, _users(placements, conditions), conditions)
    room = Clearing(Wanted(wanted, view.jobs), placements, outcome, conditions).make_room(view.uses, view.now_s)
    served = Kept(wanted, outcome.assignment, outcome.leaving)
    internal = Kept(view.jobs, room.internal, internal=True)
    kept = served.sites | internal.sites
    written = [p for those in (served, internal) for p in those.written(placements, view.instances, view.lingering)]
    return Decision(
        withdrawn=sorted((p for site, p in placements.items() if site not in kept), key=_order),
        written=sorted(written, key=_order),
        unloaded=room.unloaded,
        complete=_complete(wanted, served.sites, view),
        stray=sorted(v for v in view.uses.last if not _on_demand(v, view)),
        past=sorted(v for v in view.evicted if v in view.uses.last or not _on_demand(v, view)),
    )


def _on_demand(version: ModelVersion, view: View) -> bool:
    return version in view.deployments and view.deployments[version].on_demand


def _order(placement: Placement) -> tuple[str, str, str]:
    return placement.worker, placement.model, placement.version


def _conditions(view: View, wanted: Collection[ModelVersion], placements: Mapping[Site, Placement]) -> Conditions:
    ready = {(version_of(i), i.worker) for i in view.instances if i.state is InstanceState.READY}
    staying: set[Site] = set()
    internal: dict[ModelVersion, dict[str, Need]] = {}
    for (version, worker), placement in placements.items():
        if version in wanted and not placement.internal:
            staying.add((version, worker))
        elif version in wanted or _is_for_jobs(placement, version, view):
            staying.add((version, worker))
            if worker in view.workers or worker in view.lingering:
                internal.setdefault(version, {})[worker] = need_of(placement)
    unloading = [
        (i.worker, _left(i, view))
        for i in view.instances
        if i.worker in view.workers and (version_of(i), i.worker) not in staying
    ]
    return Conditions(view.lingering, ready, view.avoided, unloading, MOST_PLACED, internal)


def _is_for_jobs(placement: Placement, version: ModelVersion, view: View) -> bool:
    """Whether what no user wants is for jobs: what a user has left only for those that have not ended."""
    return version in view.jobs and (placement.internal or view.jobs[version].replicas > 0)


def _users(placements: Mapping[Site, Placement], conditions: Conditions) -> Iterable[Placement]:
    """Those that are not internal."""
    if not conditions.internal:
        return placements.values()
    return [p for (version, worker), p in placements.items() if worker not in conditions.internal.get(version, ())]


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


def _complete(wanted: Mapping[ModelVersion, Deployment], served: Collection[Site], view: View) -> list[Deployment]:
    """The deployments that replace others, and answer in full by their own replicas."""
    replacing: dict[ModelVersion, list[Instance]] = {v: [] for v in sorted(wanted) if wanted[v].replaces}
    for instance in view.instances if replacing else ():
        if version_of(instance) in replacing and (version_of(instance), instance.worker) in served:
            replacing[version_of(instance)].append(instance)
    return [wanted[v] for v, found in replacing.items() if ready_replicas(wanted[v], found) >= wanted[v].replicas]
