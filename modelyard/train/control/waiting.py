"""What a member waits for, when others wait for it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Waits:
    """Rank 0 to control: what it waits for, as it has for a while; also told on each new connection.

    Attributes:
        reason: one line: "its version is being published: no registry is there"; empty: it waits no more.
        since_s: since when, in seconds since the epoch.
    """

    reason: str = ""
    since_s: float = 0.0
