"""What a rank does at the end that may take long, as a registry is away: once it lasts the job's reason says so."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from threading import Lock
from typing import TypeVar

from modelyard.backoff import Backoff
from modelyard.errors import PASSING, ModelyardError
from modelyard.train.control.waiting import Waits
from modelyard.train.elastic.watch import Periodic

log = logging.getLogger(__name__)
FIRST_DELAY_S, LONGEST_DELAY_S = 0.5, 30.0
LOOK_S = 2.0
"""What has failed, and does not work so much later, is told."""
LONG_S = 30.0
"""What lasts so long is told though nothing has failed: a service may be there, and not answer."""
MOST_REASON = 500
T = TypeVar("T")


class Waiting:
    """Tells the control process of what lasts."""

    def __init__(self, tell: Callable[[Waits], None], look_s: float = LOOK_S) -> None:
        """`tell` is called in any thread."""
        self._tell = tell
        self._look_s = look_s
        self._lock = Lock()
        self._now = self._told = Waits()
        self._long_s = 0.0

    def through(self, what: str, call: Callable[[], T]) -> T:
        """Call something again and again while what it needs is away or full; return what it returns.

        Args:
            what: is being done, as it is told: "its version is being made".
            call: may be repeated. What it raises that does not pass is raised.
        """
        self._note(Waits(what, time.time()))
        self._long_s = time.monotonic() + LONG_S
        backoff = Backoff(FIRST_DELAY_S, LONGEST_DELAY_S)
        try:
            with Periodic(self._look_s, self._look, "waiting"):
                while True:
                    try:
                        return call()
                    except PASSING as error:
                        self._fail(what, error)
                    time.sleep(backoff.next())
        finally:
            self._note(Waits())
            self._say()

    def _fail(self, what: str, error: ModelyardError) -> None:
        log.warning("tried again later", extra={"what": what, "reason": error.message})
        self._long_s = 0.0
        reason = " ".join(f"{what}: {error.message}".split())
        self._note(Waits(reason[:MOST_REASON], self._now.since_s))

    def _note(self, now: Waits) -> None:
        with self._lock:
            self._now = now

    def _look(self) -> None:
        if time.monotonic() >= self._long_s:
            self._say()

    def _say(self) -> None:
        with self._lock:
            if self._now != self._told:
                self._told = self._now
                self._tell(self._now)
