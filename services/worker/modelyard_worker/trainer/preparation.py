"""Notices users' code that gets no further before there is anything to train: imported, or asked for its model."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from modelyard.train.elastic.watch import Periodic, Watch, is_reading, stalled
from modelyard.train.failure import RecipeError

log = logging.getLogger(__name__)


@contextmanager
def watched(
    where: str, limit_s: float, tell: Callable[[RecipeError], None], reads: Callable[[], object] = lambda: 0
) -> Iterator[None]:
    """Watch what this thread does meanwhile; what it reads may be away for long, which is not the code's fault.

    Args:
        where: as it is told.
        limit_s: how long it may read nothing.
        tell: is told, in another thread, of code that gets no further.
        reads: how much of the data it has read.
    """
    thread = threading.get_ident()
    watch = Watch(limit_s, lambda: None if is_reading(thread) else (where, reads()))

    def look() -> None:
        if watch.stalls():
            error = stalled(where, limit_s, thread)
            log.error("training stalls", extra={"reason": error.message})
            tell(error)

    with Periodic(watch.pause_s, look, "preparation"):
        yield
