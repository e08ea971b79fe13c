"""How often scripts were started again because one of them had failed, as all ranks count it. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from modelyard.train.control.messages import Formation
from modelyard_worker.trainer.script.failure import ScriptFailure


@dataclass(frozen=True)
class Standing:
    """What a rank brings into a formation.

    Attributes:
        device: that it computes on.
        restarts: that it knows of.
        done: whether the scripts of all ranks had ended well, in a formation that it was in.
        failure: why its script has failed in the formation before; None: it has not.
        number: of what its worker has (listing.Record).
    """

    device: str
    restarts: int = 0
    done: bool = False
    failure: ScriptFailure | None = None
    number: int = 0


class Restarts:
    """As one rank counts it.

    Attributes:
        count: of all, once it was agreed on.
        done: whether there is nothing left to be run.
        last: the failure by which the last one is to be explained.
    """

    def __init__(self, device: str) -> None:
        self.count = 0
        self.done = False
        self.last: ScriptFailure | None = None
        self._device = device
        self._failed: tuple[Formation, ScriptFailure] | None = None

    def fail(self, formation: Formation, failure: ScriptFailure) -> None:
        """This rank's script has failed in a formation."""
        self._failed = (formation, failure)

    def enter(self, formation: Formation, number: int = 0) -> Standing:
        """Return what this rank brings into the next formation; `number`: of what its worker has.

        A failure counts if all members of that formation are still there: a script whose peer was lost fails, too.
        """
        failed, self._failed = self._failed, None
        counts = failed is not None and {*failed[0].members} <= {*formation.members}
        count = self.count + (1 if counts else 0)
        return Standing(self._device, count, self.done, failed[1] if failed and counts else None, number)

    def agree(self, standings: Sequence[Standing]) -> None:
        """Take in what all ranks have brought: of several failures the first counts that follows from no other."""
        self.count = max(standing.restarts for standing in standings)
        self.done = any(standing.done for standing in standings)
        failures = [standing.failure for standing in standings if standing.failure]
        self.last = min(failures, key=lambda failure: (failure.follows, failure.time_s), default=self.last)
