"""A look at the training thread, again and again, from a thread of its own."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from modelyard import datasets
from modelyard.train.failure import RecipeError, inner_frames, users_frames

BEFORE = "before the first step"
"""Where a recipe is that prepares its data, or makes its model."""
LOOKS = 10
"""A time limit is measured in so many looks, so that a pause of this very process does not count."""
_DATASETS = str(Path(datasets.__file__).parent) + "/"


def is_reading(thread: int) -> bool:
    """Whether a thread waits for data, which may be away for long: that is not the code's fault that asked for them."""
    frame = sys._current_frames().get(thread)
    while frame is not None:
        if frame.f_code.co_filename.startswith(_DATASETS):
            return True
        frame = frame.f_back
    return False


class Periodic:
    """Calls something every so many seconds while it is entered."""

    def __init__(self, pause_s: float, call: Callable[[], None], name: str) -> None:
        self._pause_s = pause_s
        self._call = call
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Periodic:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._left.set()

    def _run(self) -> None:
        while not self._left.wait(self._pause_s):
            self._call()


class Watch:
    """Notices a thread that gets no further. Look at it every `pause_s`."""

    def __init__(self, limit_s: float, activity: Callable[[], object]) -> None:
        """Begin with nothing seen.

        Args:
            limit_s: how long it may be at one thing.
            activity: what the thread is at; None: it waits for others, or is not to be watched.
        """
        self.pause_s = limit_s / LOOKS
        self._limit_s = limit_s
        self._activity = activity
        self._seen: object = None
        self._looks = 0

    def stalls(self) -> bool:
        """Look; return whether it has been at the same for too long. It is said once."""
        now = self._activity()
        self._looks = self._looks + 1 if now is not None and now == self._seen else 0
        self._seen = now
        return self._looks == LOOKS


def stalled(where: str, limit_s: float, thread: int) -> RecipeError:
    """Return the error of a thread that is stuck in a step, say, with where the user's code is."""
    frame = sys._current_frames().get(thread)
    frames = traceback.extract_stack(frame) if frame is not None else traceback.StackSummary()
    message = f"{where}: the recipe got no further for {limit_s:g} s, and was stopped"
    lines = ["Stack (most recent call last):\n", *users_frames(inner_frames(frames)).format()]
    return RecipeError(message, "".join(lines))
