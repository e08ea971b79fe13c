"""Who is left out for a while, because formations with it fail.

Why a group cannot be formed is seldom known: all of its members fail together. So it is searched for. A formation that
failed TRIES times in a row is formed without one of those that were not whole: a newcomer, or who was in most failures.
It is taken in again after a time that doubles; a newcomer is then left out at the first failure. With k members and a
minimum of m there are at most TRIES + k - m failures until only m are left; then any m are tried, first those in fewer
failures. A member that can never be reached interrupts the training no more often than its times run out: after 30 s,
1 min, ... every 10 min.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

TRIES = 2
FIRST_HOLD_S = 30.0
LONGEST_HOLD_S = 600.0
PAUSE_S = 0.1
LONGEST_PAUSE_S = 10.0
"""Between formations that fail at once."""


@dataclass
class _Conduct:
    failures: int = 0
    losses: int = 0
    holds: int = 0
    until_s: float = 0.0


class Probation:
    """What is known of members' failures, by name. Names are never used twice, so that it grows only with processes."""

    def __init__(self) -> None:
        self._conducts: dict[str, _Conduct] = {}
        self.failures = 0
        """In a row, of formations."""

    def _of(self, member: str) -> _Conduct:
        return self._conducts.setdefault(member, _Conduct())

    def until_s(self, member: str) -> float:
        """When a member may be in a formation again."""
        return self._of(member).until_s

    def free(self, members: Sequence[str], now_s: float) -> list[str]:
        """Those that may be in a formation."""
        return [member for member in members if self.until_s(member) <= now_s]

    def hold(self, member: str, now_s: float) -> None:
        """Leave a member out, for longer each time."""
        conduct = self._of(member)
        conduct.until_s = now_s + min(FIRST_HOLD_S * 2**conduct.holds, LONGEST_HOLD_S)
        conduct.holds = min(conduct.holds + 1, 10)

    def lose(self, member: str, now_s: float) -> None:
        """A member's connection broke in a formation: it comes back, perhaps, again and again."""
        conduct = self._of(member)
        conduct.losses += 1
        if conduct.losses > TRIES:
            self.hold(member, now_s)

    def fail(self, suspects: Collection[str], newcomers: Collection[str], number: int, now_s: float) -> None:
        """A formation failed, and nobody knows why; `suspects` were not whole in it."""
        self.failures += 1
        for member in suspects:
            self._of(member).failures += 1
        worst = max(suspects, key=lambda m: (m in newcomers, *self._rank(m, number)))
        again = worst in newcomers and self._of(worst).holds > 0
        if again or self.failures >= TRIES:
            self.hold(worst, now_s)

    def succeed(self, members: Collection[str]) -> None:
        """A formation has trained for a while."""
        self.failures = 0
        for member in members:
            self._conducts.pop(member, None)

    def least_suspect(self, members: Collection[str], count: int, number: int, now_s: float) -> list[str]:
        """So many of them, those that are free first, then those in fewer failures."""
        return sorted(members, key=lambda m: (self.until_s(m) > now_s, *self._rank(m, number)))[:count]

    def pause_s(self) -> float:
        """How long to wait before the next try."""
        tried = self.failures - TRIES
        return min(PAUSE_S * 2**tried, LONGEST_PAUSE_S) if tried >= 0 else 0.0

    def _rank(self, member: str, number: int) -> tuple[int, bytes]:
        """Of equals another one comes first in each formation, so that all subsets have their turn."""
        return self._of(member).failures, hashlib.blake2b(f"{number}/{member}".encode(), digest_size=8).digest()
