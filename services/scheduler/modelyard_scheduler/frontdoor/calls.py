"""What a front door knows of one request that it sends to an instance."""

from __future__ import annotations

import time
from dataclasses import dataclass

from modelyard.errors import DeadlineError
from modelyard.names import ModelVersion


@dataclass(slots=True)
class Call:
    """One request on its way to an instance.

    Attributes:
        version: by which it is to be executed.
        request: serialized.
        expires_s: its deadline, of time.monotonic; None: it has none.
        sequence: what it is a part of; empty: of none. It is not moved to another instance.
        routing_key: calls of equal keys prefer the same instance; empty: it has none.
        on_demand: whether the version is loaded because it is called.
        newest: whether it leaves the version to us: while no instance of this one answers, another may execute it.
    """

    version: ModelVersion
    request: bytes
    expires_s: float | None = None
    sequence: str = ""
    routing_key: str = ""
    on_demand: bool = False
    newest: bool = False

    def left_s(self) -> float | None:
        """What is left of the deadline; raises DeadlineError if that is nothing."""
        if self.expires_s is None:
            return None
        left_s = self.expires_s - time.monotonic()
        if left_s <= 0:
            raise DeadlineError("the deadline passed while the call was routed")
        return left_s
