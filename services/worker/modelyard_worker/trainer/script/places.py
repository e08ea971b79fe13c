"""Which rank of a script is where, and the variables by which torchrun tells it so.

Source: torchrun's «Environment Variables» (docs.pytorch.org/docs/stable/elastic/run.html) and LocalElasticAgent of
torch 2.13: a node is a worker of ours, a worker of theirs a rank.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelyard.process import PARENT, REPORT

ROLE = "default"
_VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Place:
    """Of one rank.

    Attributes:
        rank: among all; ranks of one worker follow each other.
        world: how many there are in all.
        local_rank: among those on its worker.
        local_world: how many there are on its worker.
        group_rank: of its worker among the workers.
        group_world: how many workers there are.
        devices: of the ranks on its worker, in their order: "cuda:0" and so on, or "cpu".
    """

    rank: int
    world: int
    local_rank: int
    local_world: int
    group_rank: int
    group_world: int
    devices: tuple[str, ...]


@dataclass(frozen=True)
class Attempt:
    """One start of a script.

    Attributes:
        job: its id.
        master: host and port of the store for its ranks.
        restarts: how often it was started again because it had failed.
        errors: where torch's `record` writes why it failed.
    """

    job: str
    master: tuple[str, int]
    restarts: int
    errors: Path


def worker_of(member: str) -> str:
    """The worker that a member is on."""
    return member.rpartition("/")[0] or member


def places(members: Sequence[str], devices: Sequence[str]) -> list[Place]:
    """Return the place of each member: the first one has rank 0, others on the same worker follow.

    Args:
        members: names, in the order of the formation.
        devices: that each computes on.
    """
    workers = list(dict.fromkeys(map(worker_of, members)))
    there = [[index for index, member in enumerate(members) if worker_of(member) == worker] for worker in workers]
    ranks = {index: rank for rank, index in enumerate(index for local in there for index in local)}
    found = {
        index: Place(
            ranks[index], len(members), local_rank, len(local), group, len(workers), tuple(devices[i] for i in local)
        )
        for group, local in enumerate(there)
        for local_rank, index in enumerate(local)
    }
    return [found[index] for index in range(len(members))]


def variables(place: Place, attempt: Attempt, max_restarts: int, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a script.

    Args:
        place: its rank's.
        attempt: this start.
        max_restarts: after failures.
        environ: of this process; what is between it and its parent is left out.
    """
    host, port = attempt.master
    told: dict[str, object] = {
        "RANK": place.rank,
        "WORLD_SIZE": place.world,
        "LOCAL_RANK": place.local_rank,
        "LOCAL_WORLD_SIZE": place.local_world,
        "GROUP_RANK": place.group_rank,
        "GROUP_WORLD_SIZE": place.group_world,
        "ROLE_RANK": place.rank,
        "ROLE_WORLD_SIZE": place.world,
        "ROLE_NAME": ROLE,
        "MASTER_ADDR": host.strip("[]"),
        "MASTER_PORT": port,
        "TORCHELASTIC_RESTART_COUNT": attempt.restarts,
        "TORCHELASTIC_MAX_RESTARTS": max_restarts,
        "TORCHELASTIC_RUN_ID": attempt.job,
        "TORCHELASTIC_USE_AGENT_STORE": True,
        "TORCHELASTIC_ERROR_FILE": attempt.errors,
        "TORCH_NCCL_ASYNC_ERROR_HANDLING": environ.get("TORCH_NCCL_ASYNC_ERROR_HANDLING", "1"),
        _VISIBLE: _visible(place.devices, environ),
    }
    if place.local_world > 1:
        told["OMP_NUM_THREADS"] = environ.get("OMP_NUM_THREADS", "1")
    kept = {name: value for name, value in environ.items() if name not in {PARENT, REPORT}}
    return {**kept, **{name: str(value) for name, value in told.items()}}


def _visible(devices: Sequence[str], environ: Mapping[str, str]) -> str:
    """The GPUs of a worker's ranks, so that number LOCAL_RANK is a rank's own; those that we see may have numbers of
    their own.
    """
    seen = [name.strip() for name in environ.get(_VISIBLE, "").split(",") if name.strip()]
    numbers = [int(device.partition(":")[2] or 0) for device in devices if device.startswith("cuda")]
    return ",".join(seen[number] if number < len(seen) else str(number) for number in numbers)
