"""The version that comes of a run: one rank makes it, all know it."""

from __future__ import annotations

from collections.abc import Callable

import torch

from modelyard.names import MAX_LENGTH
from modelyard.train.elastic.group import Group


def made_by_first(group: Group, make: Callable[[], str]) -> str:
    """Return the name of what rank 0 makes, on all ranks; they wait for it.

    Args:
        group: all of its ranks call this.
        make: called on rank 0 alone; returns a name as names are, or "".

    Raises:
        GroupLost: it was lost meanwhile.
        Exception: what `make` raises.
    """
    told = torch.zeros(MAX_LENGTH, dtype=torch.uint8)
    if group.rank == 0:
        name = make().encode()
        told[: len(name)] = torch.tensor(list(name), dtype=torch.uint8)
    return bytes(group.sum(told).tolist()).rstrip(b"\0").decode()
