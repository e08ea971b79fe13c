"""What the membership of a job is told by members, and what it decides."""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.train.control.messages import Broken, Finished, Formation, Formed, Healing, Leave, Left

Report = Formed | Healing | Broken | Left | Finished
"""What a member says of its group."""
Order = tuple[str, Formation | Leave]
"""A message to the member of that name."""


@dataclass(frozen=True)
class Decision:
    """What follows from what happened.

    Attributes:
        orders: messages to members.
        proposal: who shall form; answered with `open` or `postpone`.
        wake_s: when to decide again though nothing happens; infinite: no need.
    """

    orders: tuple[Order, ...]
    proposal: Formation | None
    wake_s: float
