"""The ranks as a grid: which of them share what."""

from __future__ import annotations

import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from modelyard.jobs.training import Parallelism

PIPELINE, DATA, SHARD, TENSOR = AXES = ("pipeline", "data", "shard", "tensor")


def mesh(parallelism: Parallelism, device: str = "cpu") -> DeviceMesh:
    """Return the grid of all ranks of the default process group, with the axes of AXES.

    Neighbours share layers (`tensor`): they talk most. Stages (`pipeline`), which talk least, are the farthest apart.

    Args:
        parallelism: how the ranks share the work.
        device: "cpu" (gloo) or "cuda" (NCCL).

    Raises:
        InvalidInputError: it does not multiply out to the ranks that there are.
    """
    found = parallelism.resolved(dist.get_world_size())
    shape = (found.pipeline, found.data, found.shard, found.tensor)
    return init_device_mesh(device, shape, mesh_dim_names=AXES)


def part(grid: DeviceMesh) -> tuple[int, int]:
    """Return which part of a global batch this rank takes, and how many there are.

    Ranks that share layers, or have other stages of the same replica, take the same.
    """
    shards = grid[SHARD].size()
    return grid.get_local_rank(DATA) * shards + grid.get_local_rank(SHARD), grid[DATA].size() * shards
