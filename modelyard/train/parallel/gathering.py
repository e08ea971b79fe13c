"""Whole values out of parts, for checkpoints and export, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
from torch.distributed.tensor import DTensor

from modelyard.errors import InvalidInputError
from modelyard.train.parallel.mesh import DATA, PIPELINE, SHARD, TENSOR
from modelyard.train.parallel.placement import Placement

Weights = dict[str, torch.Tensor]
K = TypeVar("K")


def gather(placement: Placement, parts: Mapping[str, torch.Tensor] | None = None) -> Weights:
    """Return the whole model's state_dict, on the CPU, on rank 0; on all others nothing. All ranks call it.

    Args:
        placement: of this rank.
        parts: what the module's state_dict had; None: has now. Names are the module's own.
    """
    named = placement.module.state_dict() if parts is None else parts
    found = gather_values(placement, {placement.names[name]: value for name, value in named.items()})
    return {name: found[name] for name in placement.order if name in found}


def gather_values(placement: Placement, parts: Mapping[K, Any]) -> dict[K, Any]:
    """Return whole tensors, on the CPU, and other values on rank 0; on all others nothing. All ranks call it.

    There is never more than one tensor whole on the others.

    Args:
        placement: of this rank.
        parts: this rank's, of its stage; keys and their order are the same on all ranks of the stage.
    """
    collects = not any(placement.grid.get_local_rank(axis) for axis in (DATA, SHARD, TENSOR))
    own: dict[K, Any] = {}
    for key, value in parts.items():
        whole = value.full_tensor() if isinstance(value, DTensor) else value
        if collects:
            own[key] = whole.detach().to("cpu", copy=True) if isinstance(whole, torch.Tensor) else whole
    return _of_stages(placement, own) if collects else {}


def _of_stages(placement: Placement, own: dict[K, Any]) -> dict[K, Any]:
    """All stages' values on the first; its own group's, which are the ranks that have collected."""
    if placement.stages == 1:
        return own
    group = placement.grid[PIPELINE].get_group()
    first = dist.get_global_rank(group, 0)
    received: list[Any] | None = [None] * placement.stages if placement.stage == 0 else None
    dist.gather_object(own, received, dst=first, group=group)
    return {key: value for part in received or () for key, value in part.items()}


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


def parts_of(like: Mapping[K, torch.Tensor], wholes: Mapping[K, torch.Tensor]) -> dict[K, torch.Tensor]:
    """Return this rank's parts of tensors that all ranks have whole: cut as others of these shapes are.

    Raises:
        RuntimeError: a shape is another (torch's).
    """
    if not like:
        return {}
    keys = list(like)
    holder = nn.Module()  # torch cuts what is a module's
    for number, key in enumerate(keys):
        holder.register_buffer(str(number), torch.empty_like(like[key].detach()))
    values: dict[str, Any] = {str(number): wholes[key] for number, key in enumerate(keys)}
    set_model_state_dict(holder, values, options=StateDictOptions(full_state_dict=True))
    found = dict(holder.named_buffers())
    return {key: found[str(number)] for number, key in enumerate(keys)}
