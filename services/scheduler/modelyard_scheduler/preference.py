"""In which order a version prefers workers: weighted rendezvous hashing. Pure.

Every (version, worker) pair has a score; a version's preference list is the workers by descending score.

Sources: Thaler and Ravishankar, "Using name-based mappings to increase hit rates" (1998); the weights after
Schindelhauer and Schomaker, "Weighted distributed hash tables" (2005). The hash is XXH3-64 with seed 0 of
"model@version|worker" in UTF-8.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import xxhash

from modelyard.deployment import Worker
from modelyard.names import ModelVersion


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
