"""Who makes room for whom: idle on-demand deployments, and internal replicas. Pure."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from modelyard.deployment import Deployment, Placement
from modelyard.names import ModelVersion
from modelyard.reservation import Need, need_of
from modelyard_scheduler.eviction import Candidate, Evictions, Uses
from modelyard_scheduler.internal import InternalReplicas
from modelyard_scheduler.placement import Assignment, Conditions, Outcome, Replicas, Site

MOST_HELPED = 50
"""For so many deployments that wait for room others may be evicted at a time; every second others are drawn."""


@dataclass(frozen=True)
class Wanted:
    """What is to be loaded now: what users have deployed, and internal deployments."""

    users: Mapping[ModelVersion, Deployment]
    jobs: Mapping[ModelVersion, Deployment]


@dataclass(frozen=True)
class Room:
    """The on-demand deployments that are unloaded, each with the reason, and the workers of internal replicas."""

    unloaded: Mapping[ModelVersion, str]
    internal: Assignment


class Clearing:
    """What one decision clears away, after users' replicas were assigned."""

    def __init__(
        self, wanted: Wanted, placements: Mapping[Site, Placement], outcome: Outcome, conditions: Conditions
    ) -> None:
        self._wanted = wanted
        self._placements = placements
        self._outcome = outcome
        self._conditions = conditions
        self._reserved = _reserved(wanted.users, placements, outcome)

    def make_room(self, uses: Uses, now_s: float) -> Room:
        """Unload what nobody calls any more and what makes room for others, and lend to jobs what nobody needs."""
        ended = self._ended(uses, now_s)
        idle = self._idle(ended, uses, now_s)
        waiting = [one for one in self._outcome.waiting if one.version not in ended]
        going = self._going(ended)
        internal = InternalReplicas(self._wanted.jobs, self._placements, self._outcome, self._conditions)
        evictions = self._evict(
            _drawn(waiting, now_s), [*idle, *internal.candidates(spare=False)], [*going, *internal.leaving]
        )
        internal.displace(evictions.displaced)
        gone = dict(evictions.gone)
        if len(waiting) <= MOST_HELPED:  # else it is not known of all what they are to have
            gone.update(self._lend(internal, idle, going, evictions, now_s))
        reasons = {victim: f"{for_whom} needed the room" for victim, for_whom in gone.items()}
        return Room({**ended, **reasons}, internal.assignment())

    def _lend(
        self,
        internal: InternalReplicas,
        idle: Sequence[Candidate],
        going: Sequence[tuple[str, Need]],
        before: Evictions,
        now_s: float,
    ) -> Mapping[ModelVersion, ModelVersion]:
        """Place internal replicas; return what is to go for the first ones of their versions."""
        waiting = internal.fill_first()
        if waiting and before.freed:
            return {}  # first those who come first
        candidates = [*idle, *internal.candidates(spare=True)]
        evictions = self._evict(_drawn(waiting, now_s), candidates, [*going, *internal.leaving])
        internal.displace(evictions.displaced)
        internal.fill()
        return evictions.gone

    def _evict(
        self, waiting: Sequence[Replicas], candidates: Sequence[Candidate], going: Sequence[tuple[str, Need]]
    ) -> Evictions:
        """Choose what goes; the load has what is promised then, and still has what goes."""
        load, nobody = self._outcome.load, not candidates and not self._wanted.jobs
        if not waiting or nobody:
            return Evictions([], load, self._conditions)
        for worker_id, need in going:
            load.add(worker_id, need, -1)
        evictions = Evictions(candidates, load, self._conditions)
        evictions.choose(waiting)
        for worker_id, need in (*going, *evictions.freed):
            load.add(worker_id, need)
        return evictions

    def _awake(self, uses: Uses) -> dict[ModelVersion, Deployment]:
        """The on-demand deployments that may be unloaded: not those that jobs wish for too."""
        users, jobs = self._wanted.users, self._wanted.jobs
        awake = ((v, d) for v, d in users.items() if v in uses.last and not d.replaces and d.on_demand)
        return {v: d for v, d in awake if v not in jobs or not jobs[v].replicas}

    def _ended(self, uses: Uses, now_s: float) -> dict[ModelVersion, str]:
        """Those that nobody calls any more."""
        reasons = {v: uses.expired(d, v in self._reserved, now_s) for v, d in self._awake(uses).items()}
        return {version: reason for version, reason in reasons.items() if reason}

    def _idle(self, ended: Mapping[ModelVersion, str], uses: Uses, now_s: float) -> list[Candidate]:
        """Those that may make room for others."""
        live = self._outcome.load.workers
        return [
            Candidate(v, uses.idle_s(v, now_s), {w: need for w, need in self._reserved[v].items() if w in live})
            for v in self._awake(uses)
            if v in self._reserved and v not in ended and uses.evictable(v, now_s)
        ]

    def _going(self, ended: Mapping[ModelVersion, str]) -> list[tuple[str, Need]]:
        """What will be free without anybody's doing, by worker: what is unloading, or will be after this decision."""
        going = [*self._conditions.unloading, *(site for v in ended for site in self._reserved.get(v, {}).items())]
        for version, held in self._conditions.internal.items():
            if version not in self._wanted.jobs:
                taken_over = self._outcome.assignment.get(version, ())
                going += [(worker_id, need) for worker_id, need in held.items() if worker_id not in taken_over]
        return going


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
