"""On-demand deployments: how long they were not called, and which are unloaded. Pure but for clocks passed in.

One that answers can be evicted once it was not called for 8 s (front doors write down at least every 5 s that one is
called); one that does not answer yet, once nobody can be waiting for it any more, which is after 120 s.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from modelyard.deployment import Activity, Deployment, Worker
from modelyard.names import ModelVersion
from modelyard.reservation import Need
from modelyard_scheduler.load import Load, has_room, unfit
from modelyard_scheduler.placement import Conditions, Replicas, Site, open_to

RECENT_S = 8.0
WAIT_S = 120.0


@dataclass(frozen=True)
class Use:
    """When a deployment was last called, by our own clock, and the revision of the key that said so."""

    revision: int
    time_s: float
    ready: bool


@dataclass
class Uses:
    """When on-demand deployments were last called.

    A change of an activity key counts when it is seen, so that clocks of other machines matter only for what was there
    when the leader began. To become READY counts as being called: those who waited for it come now.
    """

    last: dict[ModelVersion, Use] = field(default_factory=dict)
    begun: bool = False

    def observe(
        self,
        activities: Mapping[ModelVersion, tuple[int, Activity]],
        ready: Collection[ModelVersion],
        now_s: float,
        wall_s: float,
    ) -> None:
        """Note the activity keys, with their revisions, and what answers; `wall_s`: seconds since the epoch."""
        before, self.last = self.last, {}
        for version, (revision, activity) in activities.items():
            known = before.get(version)
            if known is None:
                time_s = now_s if self.begun else now_s - max(0.0, wall_s - activity.last_used_s)
            elif known.revision != revision or (version in ready and not known.ready):
                time_s = now_s
            else:
                time_s = known.time_s
            self.last[version] = Use(revision, time_s, version in ready)
        self.begun = True

    def idle_s(self, version: ModelVersion, now_s: float) -> float:
        """For how long it was not called."""
        return now_s - self.last[version].time_s

    def evictable(self, version: ModelVersion, now_s: float) -> bool:
        """Whether it may go where another needs the room."""
        return self.idle_s(version, now_s) >= (RECENT_S if self.last[version].ready else WAIT_S)

    def expired(self, deployment: Deployment, placed: bool, now_s: float) -> str:
        """Why it is to go even if nobody needs the room; empty if it is not."""
        version = ModelVersion(deployment.model, deployment.version)
        least_s = RECENT_S if self.last[version].ready else WAIT_S
        idle_s = self.idle_s(version, now_s)
        if not placed and idle_s >= WAIT_S:
            return f"it could not be placed within {WAIT_S:g} s of its last call"
        if deployment.idle_s and idle_s >= max(deployment.idle_s, least_s):
            return f"it was not called for {deployment.idle_s:g} s"
        return ""


@dataclass(frozen=True)
class Candidate:
    """A deployment that may be evicted, or one internal replica: what it has reserved on which workers.

    Attributes:
        idle_s: for how long nobody has called it; infinite for an internal replica, so that those go first.
    """

    version: ModelVersion
    idle_s: float
    reserved: Mapping[str, Need]
    internal: bool = False


class Evictions:
    """Chooses what makes room for those that wait: the least recently used first, no more than is needed.

    Attributes:
        gone: the deployments that are to go, and for whom.
        displaced: the internal replicas that are to go.
        freed: what those have reserved, by worker.
        promised: what those who wait are to have, by worker.
    """

    def __init__(self, candidates: Iterable[Candidate], load: Load, conditions: Conditions) -> None:
        """`load`: without what is being unloaded: that room will be free without anybody's going."""
        self.gone: dict[ModelVersion, ModelVersion] = {}
        self.displaced: list[Site] = []
        self.freed: list[tuple[str, Need]] = []
        self.promised: list[tuple[str, Need]] = []
        self._load = load
        self._conditions = conditions
        self._by_worker: dict[str, list[Candidate]] = {}
        for candidate in sorted(candidates, key=lambda c: (-c.idle_s, c.version)):
            for worker_id in candidate.reserved:
                self._by_worker.setdefault(worker_id, []).append(candidate)

    def choose(self, waiting: Sequence[Replicas]) -> None:
        """Choose what is to go for them."""
        for one in sorted(waiting, key=lambda r: r.deployment.on_demand):
            places = [w for w in open_to(one, self._load, self._conditions) if not unfit(one.need, w)]
            if one.deployment.least > 1 and sum(self._could(one, w) for w in places) < one.without_room:
                continue  # nobody goes for a part of a gang
            for _ in range(one.without_room):
                if not places or not self._make_room(one, places):
                    break

    def _could(self, one: Replicas, worker: Worker) -> bool:
        return has_room(one.need, worker, self._load) or bool(self._victims(one, worker))

    def _make_room(self, one: Replicas, places: list[Worker]) -> bool:
        """Reserve room on one of the places, which is then taken from them; return whether there is any."""
        free = next((w for w in places if has_room(one.need, w, self._load)), None)
        options = [] if free else [(w, victims) for w in places if (victims := self._victims(one, w))]
        if not free and not options:
            return False
        worker, victims = (free, []) if free else max(options, key=lambda o: (min(c.idle_s for c in o[1]), -len(o[1])))
        for victim in victims:
            self._remove(victim, one.version)
        self._load.add(worker.id, one.need)
        self.promised.append((worker.id, one.need))
        places.remove(worker)
        return True

    def _victims(self, one: Replicas, worker: Worker) -> list[Candidate]:
        """Who has to go from a worker, the least recently used first; nobody if even all were not enough."""
        chosen: list[Candidate] = []
        for candidate in self._among(one, worker):
            chosen.append(candidate)
            if self._enough(one, worker, chosen):
                return self._needed(one, worker, chosen)
        return []

    def _among(self, one: Replicas, worker: Worker) -> Iterator[Candidate]:
        return (c for c in self._by_worker.get(worker.id, ()) if c.version != one.version)

    def _needed(self, one: Replicas, worker: Worker, chosen: list[Candidate]) -> list[Candidate]:
        """Of those chosen the ones that cannot be spared; the most recently used are spared first."""
        needed = list(chosen)
        for candidate in reversed(chosen):
            others = [c for c in needed if c is not candidate]
            if others and self._enough(one, worker, others):
                needed = others
        return needed

    def _enough(self, one: Replicas, worker: Worker, victims: Sequence[Candidate]) -> bool:
        for victim in victims:
            self._load.add(worker.id, victim.reserved[worker.id], -1)
        enough = has_room(one.need, worker, self._load)
        for victim in victims:
            self._load.add(worker.id, victim.reserved[worker.id])
        return enough

    def _remove(self, victim: Candidate, for_whom: ModelVersion) -> None:
        if victim.internal:
            self.displaced += [(victim.version, worker_id) for worker_id in victim.reserved]
        else:
            self.gone[victim.version] = for_whom
        self.freed += victim.reserved.items()
        for worker_id, need in victim.reserved.items():
            self._load.add(worker_id, need, -1)
            self._by_worker[worker_id].remove(victim)
