"""Internal replicas: where versions go that jobs want loaded, in what users leave. Pure: state in, decisions out.

What is placed stays, as users' replicas do. But an internal replica that must move goes at once, and is not tried where
it failed of late: nobody's calls depend on it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping

from modelyard.deployment import Deployment, Placement
from modelyard.names import ModelVersion
from modelyard.reservation import Need, need_of
from modelyard_scheduler.eviction import Candidate
from modelyard_scheduler.load import has_room
from modelyard_scheduler.placement import Assignment, Conditions, Outcome, Replicas, Site, place, sort_out


class InternalReplicas:
    """Those of one decision, after users' replicas were assigned.

    Attributes:
        leaving: what those have reserved that are to go, by worker.
        most: how many may be placed.
    """

    def __init__(
        self,
        deployments: Mapping[ModelVersion, Deployment],
        placements: Mapping[Site, Placement],
        outcome: Outcome,
        conditions: Conditions,
    ) -> None:
        """`deployments`: the internal ones; `placements`: users' among them, which may become internal."""
        self.leaving: list[tuple[str, Need]] = []
        self.most = outcome.most
        self._load = outcome.load
        self._conditions = dataclasses.replace(conditions, internal={})
        self._users = {version: outcome.assignment.get(version, []) for version in sorted(deployments)}
        self._all = {version: _with_users(deployments[version], users) for version, users in self._users.items()}
        held = _held(placements, outcome, conditions, deployments)
        for version, one in self._all.items():
            if not deployments[version].replicas:  # the jobs have ended: what is there stays
                one.deployment = dataclasses.replace(one.deployment, replicas=len(one.stay) + len(held[version]))
            sort_out(one, held[version], self._load, self._conditions)
            self.leaving += one.leave.items()
        self._lacking = [one for version, one in self._all.items() if deployments[version].replicas and one.missing]

    def assignment(self) -> Assignment:
        """The workers of each version that are not its user's."""
        return {version: self._workers(one) for version, one in self._all.items()}

    def _workers(self, one: Replicas) -> list[str]:
        """Without its user's; those that answer first."""
        own = (worker for worker in one.stay if worker not in self._users[one.version])
        return sorted(own, key=lambda worker: (one.version, worker) not in self._conditions.ready)

    def candidates(self, *, spare: bool) -> list[Candidate]:
        """What may be displaced; with `spare` only what its version has beside those that it needs at least."""
        return [
            Candidate(version, math.inf, {worker: one.need}, internal=True)
            for version, one in self._all.items()
            for worker in self._workers(one)[one.deployment.least if spare and not self._users[version] else 0 :]
        ]

    def displace(self, sites: Iterable[Site]) -> None:
        """Have them go; their room is not free yet."""
        for version, worker in sites:
            one = self._all[version]
            one.stay.remove(worker)
            one.leave[worker] = one.need
            self.leaving.append((worker, one.need))

    def fill_first(self) -> list[Replicas]:
        """Place of each version as many replicas as it needs at least; return those for which there is no room."""
        for one in self._lacking:
            self._fill_least(one)
        waiting = [one for one in self._lacking if _lacks(one)]
        for one in waiting:
            one.without_room = _lacks(one)
        return waiting

    def fill(self) -> None:
        """Place all that there is room for beside."""
        for one in self._lacking:
            self._fill_least(one)
            if not _lacks(one):
                self._fill(one, one.missing)

    def _fill(self, one: Replicas, wanted: int) -> int:
        placed = place(one, self._load, self._conditions, min(wanted, self.most))
        self.most -= placed
        return placed

    def _fill_least(self, one: Replicas) -> None:
        """All that it lacks of those, or none: two gangs that have half of their workers each would wait for ever."""
        lacks, stay = _lacks(one), len(one.stay)
        placed = self._fill(one, lacks)
        if placed < lacks:
            self.most += placed
            for worker in one.stay[stay:]:
                self._load.add(worker, one.need, -1)
            del one.stay[stay:]


def _lacks(one: Replicas) -> int:
    """How many replicas are missing of those that it needs at least."""
    return max(min(one.deployment.least, one.deployment.replicas) - len(one.stay), 0)


def _with_users(deployment: Deployment, users: list[str]) -> Replicas:
    """Internal replicas beside those of a user, who may have more than are wanted."""
    wanted = dataclasses.replace(deployment, replicas=max(deployment.replicas, len(users)))
    return Replicas(ModelVersion(deployment.model, deployment.version), wanted, need_of(wanted), stay=list(users))


def _held(
    placements: Mapping[Site, Placement],
    outcome: Outcome,
    conditions: Conditions,
    wanted: Mapping[ModelVersion, Deployment],
) -> dict[ModelVersion, dict[str, Need]]:
    """What is not users' by now: internal replicas, and what users have just left, if there is still room for it."""
    held = {version: dict(conditions.internal.get(version, {})) for version in wanted}
    kept = {(version, worker) for version in wanted for worker in outcome.assignment.get(version, ())}
    for (version, worker_id), placement in placements.items():
        if version not in wanted:
            continue
        if (version, worker_id) in kept:
            held[version].pop(worker_id, None)
        elif worker_id not in held[version] and wanted[version].replicas:
            need, worker = need_of(placement), outcome.load.workers.get(worker_id)
            if worker and has_room(need, worker, outcome.load):
                outcome.load.add(worker_id, need)
                held[version][worker_id] = need
    return held
