"""Which rank's state counts: the members of a new group tell each other how far they are; the latest wins."""

from __future__ import annotations

from dataclasses import astuple, dataclass

import torch

from modelyard.train.elastic.group import Group


@dataclass(frozen=True, order=True)
class Standing:
    """How far a rank's state is. Ranks with equal ones have the same state, bit for bit; the larger one is later.

    Attributes:
        step: steps that were applied; -1: there is no state.
        evaluated: after how many of them it was evaluated.
        formation: in which its last step was done: a step that was done twice, by different groups, differs in the
            rounding of sums. The earlier group had not committed it, or the later one would not have done it.
    """

    step: int = -1
    evaluated: int = 0
    formation: int = 0


@dataclass(frozen=True)
class Result:
    """Of a vote: the same on all ranks.

    Attributes:
        latest: how far the state is that counts.
        source: the lowest rank that has it.
        behind: the ranks that have another, or none.
    """

    latest: Standing
    source: int
    behind: tuple[int, ...]


def vote(group: Group, standing: Standing) -> Result:
    """Tell the others how far this rank is.

    Raises:
        GroupLost: the group's.
    """
    gathered = group.all_gather(torch.tensor(astuple(standing), dtype=torch.int64))
    return count([Standing(*map(int, values.tolist())) for values in gathered])


def count(standings: list[Standing]) -> Result:
    """Return the result of what all have told, by rank."""
    latest = max(standings)
    behind = tuple(rank for rank, standing in enumerate(standings) if standing != latest or standing.step < 0)
    return Result(latest, standings.index(latest), behind)
