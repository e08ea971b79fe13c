"""How many members a formation has, and how long what is waited for may take."""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.train.control.messages import ALONE_S


@dataclass(frozen=True)
class Limits:
    """Numbers of members, and times in seconds.

    Attributes:
        min_workers: no formation has fewer members.
        max_workers: no formation has more.
        expected: members that were placed: when so many are there nobody else is waited for; 0: as max_workers.
        settle_s: without a group that is interrupted: so long nobody came, then those that are there form.
        adopt_s: a new control process waits so long for the members of a formation that seems to train on.
        blame_s: from the first member that dropped its group until a new one is formed: a connection that breaks with
            it tells who was lost.
        form_s: from the formation, the last sign of healing, or the first that left at a boundary, to the last answer.
        steady_s: a formation that broke sooner has failed.
        alone_s: without any member that has the state: from the loss of the last one to a formation without them.
        replica: members that share a model; a formation has a multiple of it.
        return_s: where they do: so long it is waited, when a formation has ended, until as many are there as before.
    """

    min_workers: int = 1
    max_workers: int = 1
    expected: int = 0
    settle_s: float = 2.0
    adopt_s: float = 10.0
    blame_s: float = 0.1
    form_s: float = 60.0
    steady_s: float = 30.0
    alone_s: float = 1.5 * ALONE_S
    replica: int = 1
    return_s: float = 45.0

    @property
    def complete(self) -> int:
        """Nobody else is waited for when so many are there."""
        return min(self.expected or self.max_workers, self.max_workers)
