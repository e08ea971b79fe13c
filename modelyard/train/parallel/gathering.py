"""Whole weights out of parts, for what comes of a run; and where a part of what is whole is read to."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor

from modelyard.errors import InvalidInputError
from modelyard.train.parallel.mesh import DATA, PIPELINE, SHARD, TENSOR
from modelyard.train.parallel.placement import Placement

Weights = dict[str, torch.Tensor]


def gather(placement: Placement, parts: Mapping[str, torch.Tensor] | None = None) -> Weights:
    """Return the whole model's state_dict, on the CPU, on rank 0; on all others nothing. All ranks call it.

    Args:
        placement: of this rank.
        parts: what the module's state_dict had; None: has now. Names are the module's own.
    """
    parts = placement.module.state_dict() if parts is None else parts
    found = _of_stages(placement, _of_stage(placement, placement.known(parts)))
    return {name: found[name] for name in placement.order if name in found}


def _of_stage(placement: Placement, parts: Weights) -> Weights | None:
    """Those of this rank's stage on its first rank; None on the others, which never have more than one tensor whole."""
    collects = not any(placement.grid.get_local_rank(axis) for axis in (DATA, SHARD, TENSOR))
    own: Weights = {}
    for name, value in parts.items():
        whole = value.full_tensor() if isinstance(value, DTensor) else value
        if collects:
            own[name] = whole.detach().to("cpu", copy=True)
    return own if collects else None


def _of_stages(placement: Placement, own: Weights | None) -> Weights:
    """Those of all stages on the first; its own group's, which are the ranks that have collected."""
    if own is None:
        return {}
    if placement.stages == 1:
        return own
    group = placement.grid[PIPELINE].get_group()
    first = dist.get_global_rank(group, 0)
    received: list[Weights] | None = [{}] * placement.stages if placement.stage == 0 else None
    dist.gather_object(own, received, dst=first, group=group)
    return {name: value for part in received or () for name, value in part.items()}


def part_of(key: str, whole: torch.Tensor, cut: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    """Return where this rank's part of a tensor is read to: cut as another is. Single numbers are not.

    Raises:
        InvalidInputError: the other has another shape.
    """
    if not whole.dim():
        return torch.empty_like(whole, device="cpu")
    if not isinstance(cut, DTensor) and key.startswith("optimizer/"):
        return torch.empty_like(whole, device=device)
    if whole.shape != cut.shape:
        raise InvalidInputError(f"{key}: expected {list(cut.shape)}, got {list(whole.shape)}")
    return torch.empty_like(cut, dtype=whole.dtype, device=device)
