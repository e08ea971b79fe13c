"""Whole weights out of parts, for checkpoints and export, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
from torch.distributed.tensor import DTensor

from modelyard.errors import InvalidInputError
from modelyard.train.parallel.mesh import DATA, PIPELINE, SHARD, TENSOR
from modelyard.train.parallel.placement import Placement

Weights = dict[str, torch.Tensor]


def gather(placement: Placement) -> Weights:
    """Return the whole model's state_dict, on the CPU, on rank 0; on all others nothing. All ranks call it.

    There is never more than one tensor whole on the others.
    """
    grid = placement.grid
    collects = not any(grid.get_local_rank(axis) for axis in (DATA, SHARD, TENSOR))
    own: Weights = {}
    for name, value in placement.module.state_dict().items():
        whole = _whole(value)
        if collects:
            own[placement.names[name]] = whole.detach().to("cpu", copy=True)
    if not collects:
        return {}
    found = _of_stages(placement, own)
    return {name: found[name] for name in placement.order if name in found}


def _whole(value: torch.Tensor) -> torch.Tensor:
    return value.full_tensor() if isinstance(value, DTensor) else value


def _of_stages(placement: Placement, own: Weights) -> Weights:
    """All stages' weights on the first; its own group's, which are the ranks that have collected."""
    if placement.stages == 1:
        return own
    group = placement.grid[PIPELINE].get_group()
    first = dist.get_global_rank(group, 0)
    received: list[Any] | None = [None] * placement.stages if placement.stage == 0 else None
    dist.gather_object(own, received, dst=first, group=group)
    return {name: value for part in received or () for name, value in part.items()}


def scatter(placement: Placement, weights: Mapping[str, torch.Tensor]) -> None:
    """Give each rank its part of a whole model's state_dict, which all have.

    Raises:
        InvalidInputError: a name is missing, or a shape is another.
    """
    try:
        own: dict[str, Any] = {name: weights[known] for name, known in placement.names.items()}
        set_model_state_dict(placement.module, own, options=StateDictOptions(full_state_dict=True))
    except (KeyError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InvalidInputError(f"weights: expected those of this recipe's model: {reason:.300}") from error
