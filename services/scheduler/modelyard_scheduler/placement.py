"""Where replicas go: weighted rendezvous hashing with bounded load. Pure: state in, decisions out.

Every (version, worker) pair has a score; a version's preference list is the workers by descending score. A replica
goes to the first worker of that list that can hold it and whose load would stay below 1.25 times the mean, else to the
first that can hold it. What is placed stays while its worker lives, so that only what must move moves.

Sources: Thaler and Ravishankar, "Using name-based mappings to increase hit rates" (1998); the weights after
Schindelhauer and Schomaker, "Weighted distributed hash tables" (2005); the bound after Mirrokni, Thorup and
Zadimoghaddam, "Consistent hashing with bounded loads" (2016). The hash is XXH3-64 with seed 0 of
"model@version|worker" in UTF-8.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import xxhash

from modelyard.catalogue import Resources
from modelyard.config import format_bytes
from modelyard.deployment import Deployment, Placement, Worker
from modelyard.names import ModelVersion

BOUND = 1.25


def score(version: ModelVersion, worker_id: str, weight: float) -> float:
    """The rank of a worker for a version: the greatest is preferred, a worker of twice the weight twice as often."""
    draw = (xxhash.xxh3_64_intdigest(f"{version}|{worker_id}".encode()) + 0.5) / 2.0**64
    return -weight / math.log(draw)


def preference(version: ModelVersion, workers: Iterable[Worker]) -> list[Worker]:
    """The workers in the order in which a version prefers them; weights are their memory."""
    return sorted(workers, key=lambda w: score(version, w.id, w.memory_bytes), reverse=True)


def unfit(resources: Resources, worker: Worker) -> str:
    """Why a worker could never hold an instance, even if it were empty; empty if it could."""
    if resources.cpu > worker.cpu:
        return f"needs {resources.cpu:g} cores, it has {worker.cpu:g}"
    if resources.memory_bytes > worker.memory_bytes:
        return f"needs {format_bytes(resources.memory_bytes)} of memory, it has {format_bytes(worker.memory_bytes)}"
    if resources.gpu > len(worker.devices):
        return f"needs {resources.gpu} GPUs, it has {len(worker.devices)}"
    return ""


@dataclass
class Load:
    """What is reserved on each live worker, in bytes of memory."""

    workers: Mapping[str, Worker]
    reserved: dict[str, int] = field(default_factory=dict)

    def free_bytes(self, worker: Worker) -> int:
        """What is left of a worker's memory."""
        return worker.memory_bytes - self.reserved.get(worker.id, 0)

    def add(self, worker_id: str, resources: Resources) -> None:
        """Reserve what an instance needs."""
        self.reserved[worker_id] = self.reserved.get(worker_id, 0) + resources.memory_bytes

    def within_bound(self, worker: Worker, resources: Resources) -> bool:
        """Whether the worker's load stays below the bound with one more instance."""
        capacity = sum(w.memory_bytes for w in self.workers.values())
        total = sum(self.reserved.values()) + resources.memory_bytes
        after = self.reserved.get(worker.id, 0) + resources.memory_bytes
        return after / worker.memory_bytes <= BOUND * total / capacity


def obstacle(resources: Resources, worker: Worker, load: Load) -> str:
    """Why a worker cannot hold one more instance now; empty if it can."""
    reason = unfit(resources, worker)
    if not reason and resources.memory_bytes > load.free_bytes(worker):
        reason = (
            f"needs {format_bytes(resources.memory_bytes)} of memory, "
            f"{format_bytes(load.free_bytes(worker))} of {format_bytes(worker.memory_bytes)} are free"
        )
    return reason


Assignment = dict[ModelVersion, list[str]]
"""The workers of each version."""


def assignment_of(placements: Iterable[Placement]) -> Assignment:
    """What is placed where."""
    found: Assignment = {}
    for placement in placements:
        found.setdefault(ModelVersion(placement.model, placement.version), []).append(placement.worker)
    return found


def assign(
    deployments: Iterable[Deployment],
    workers: Mapping[str, Worker],
    current: Assignment,
    lingering: Collection[str] = (),
    ready: Collection[tuple[ModelVersion, str]] = (),
) -> Assignment:
    """Return which workers each deployed version shall be on.

    Args:
        deployments: the desired state.
        workers: the live workers by id.
        current: what is placed now.
        lingering: workers that vanished but may come back; what is on them is neither moved nor counted as lost.
        ready: which versions answer on which workers; of too many replicas, these are kept.
    """
    load = Load(workers)
    wanted = {ModelVersion(d.model, d.version): d for d in deployments}
    kept: Assignment = {}
    for key in sorted(wanted):
        stay = [p for p in current.get(key, ()) if p in workers or p in lingering]
        ranked = sorted(stay, key=lambda p: ((key, p) in ready, _rank(key, p, workers)), reverse=True)
        kept[key] = []
        _keep(wanted[key], ranked, kept[key], load)
    for key in sorted(kept):
        _fill(key, wanted[key], kept[key], load)
    return kept


def _rank(key: ModelVersion, worker_id: str, workers: Mapping[str, Worker]) -> float:
    return score(key, worker_id, workers[worker_id].memory_bytes) if worker_id in workers else 0.0


def _keep(deployment: Deployment, ranked: Sequence[str], places: list[str], load: Load) -> None:
    """Keep as many replicas as are wanted, where they still fit (a worker may come back with less memory)."""
    for worker_id in ranked:
        worker = load.workers.get(worker_id)
        fits = worker is None or not obstacle(deployment.resources, worker, load)
        if fits and len(places) < deployment.replicas:
            places.append(worker_id)
            load.add(worker_id, deployment.resources)


def _fill(key: ModelVersion, deployment: Deployment, places: list[str], load: Load) -> None:
    while len(places) < deployment.replicas:
        open_to = [
            w for w in load.workers.values() if w.id not in places and not obstacle(deployment.resources, w, load)
        ]
        ranked = preference(key, open_to)
        if not ranked:
            return
        chosen = next((w for w in ranked if load.within_bound(w, deployment.resources)), ranked[0])
        places.append(chosen.id)
        load.add(chosen.id, deployment.resources)
