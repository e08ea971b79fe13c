"""Changes of what is served, without a gap: new options replica by replica, a new version before the old one. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from modelyard.deployment import Deployment, Instance, InstanceState, Placement
from modelyard.names import ModelVersion
from modelyard_scheduler.placement import Assignment, Site


def placement_of(deployment: Deployment, worker: str) -> Placement:
    """What a worker is to be told of a deployment, of no epoch yet."""
    return Placement(
        model=deployment.model,
        version=deployment.version,
        worker=worker,
        manifest_digest=deployment.manifest_digest,
        format=deployment.format,
        resources=deployment.resources,
        epoch=0,
        options=deployment.options,
    )


def ready_replicas(deployment: Deployment, instances: Iterable[Instance]) -> int:
    """How many instances answer as the deployment wants them, not with options that it had before."""
    return sum(i.state is InstanceState.READY and i.options == deployment.options for i in instances)


def as_wanted(instance: Instance, deployment: Deployment) -> Instance:
    """An instance as a replica of the deployment: a failure with options of before is not its failure."""
    if instance.state is not InstanceState.FAILED or instance.options == deployment.options:
        return instance
    reason = f"to be loaded with other options; with those of before: {instance.reason}"
    return dataclasses.replace(instance, state=InstanceState.LOADING, reason=reason)


def is_outdated(placement: Placement | None, wanted: Deployment) -> bool:
    """Whether a placement, if there is one, is not what its deployment wants by now."""
    return placement is not None and (
        (placement.options, placement.resources, placement.manifest_digest, placement.format)
        != (wanted.options, wanted.resources, wanted.manifest_digest, wanted.format)
    )


def due(
    wanted: Deployment, held: Sequence[Placement], instances: Mapping[str, Instance], fixed: Collection[str]
) -> list[Placement]:
    """Return the placements that are to be changed now.

    Those that do not answer anyway are changed at once. Of the others one at a time is, while all the rest answer.

    Args:
        wanted: what they shall be.
        held: what they are.
        instances: what became of them, by worker.
        fixed: workers where nothing is changed: they are away, or to be left; but they may be waited for.
    """
    outdated = [p for p in held if is_outdated(p, wanted) and p.worker not in fixed]
    down = [p for p in held if not _answers(p, instances)]
    at_once = [p for p in outdated if p in down]
    chosen = at_once or ([] if down else outdated[:1])
    return [placement_of(wanted, p.worker) for p in chosen]


def _answers(placement: Placement, instances: Mapping[str, Instance]) -> bool:
    instance = instances.get(placement.worker)
    return bool(instance and instance.state is InstanceState.READY and instance.options == placement.options)


@dataclass(frozen=True)
class Kept:
    """The replicas that are to be there, by their version's deployment.

    Attributes:
        leaving: those that stay only until others answer; they are not changed any more.
        internal: they are there for jobs.
    """

    deployments: Mapping[ModelVersion, Deployment]
    assignment: Assignment
    leaving: Collection[Site] = ()
    internal: bool = False

    @property
    def sites(self) -> set[Site]:
        """Where they are."""
        return {(version, worker) for version, workers in self.assignment.items() for worker in workers}

    def written(
        self, placements: Mapping[Site, Placement], instances: Collection[Instance], fixed: Collection[str]
    ) -> list[Placement]:
        """Return the placements that come, that change now, and that were of the other kind so far.

        Args:
            placements: what is placed.
            instances: what became of it.
            fixed: workers where no options are changed.
        """
        known = {v: [placements.get((v, w)) for w in workers] for v, workers in self.assignment.items()}
        touched = {v for v, those in known.items() if any(self._differs(p, self.deployments[v]) for p in those)}
        outdated = {v for v in touched if any(is_outdated(p, self.deployments[v]) for p in known[v])}
        found: dict[ModelVersion, dict[str, Instance]] = {version: {} for version in touched}
        for instance in instances if outdated else ():
            version = ModelVersion(instance.model, instance.version)
            if version in outdated:
                found[version][instance.worker] = instance
        made = [p for version in touched for p in self._changed(version, placements, found[version], fixed)]
        return [p for p in made if p != placements.get((ModelVersion(p.model, p.version), p.worker))]

    def _differs(self, placement: Placement | None, wanted: Deployment) -> bool:
        return placement is None or placement.internal is not self.internal or is_outdated(placement, wanted)

    def _changed(
        self,
        version: ModelVersion,
        placements: Mapping[Site, Placement],
        instances: Mapping[str, Instance],
        fixed: Collection[str],
    ) -> list[Placement]:
        """All placements of a version, as they are to be."""
        wanted, workers = self.deployments[version], self.assignment[version]
        held = [placements.get((version, w)) or placement_of(wanted, w) for w in workers]
        left = {worker for leaving, worker in self.leaving if leaving == version}
        changed = {p.worker: p for p in due(wanted, held, instances, {*fixed, *left})}
        return [dataclasses.replace(changed.get(p.worker, p), internal=self.internal) for p in held]
