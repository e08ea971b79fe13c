"""Counting what is through, for progress bars."""

from __future__ import annotations

from collections.abc import Callable

from modelyard.results import Progress

OnProgress = Callable[[Progress], None]


class Meter:
    """Counts the bytes of one stage and tells a callback after each change."""

    def __init__(self, stage: str, total_bytes: int, on_progress: OnProgress | None, present_bytes: int = 0) -> None:
        self._progress = Progress(stage, 0, total_bytes, present_bytes)
        self._on_progress = on_progress
        self.add(0)

    def add(self, size_bytes: int, present_bytes: int = 0) -> None:
        """Count bytes that are through; negative: they must be sent again.

        `present_bytes` need no transfer, as turned out now: they leave the total.
        """
        old = self._progress
        self._progress = Progress(
            old.stage,
            old.done_bytes + size_bytes,
            old.total_bytes - present_bytes,
            old.present_bytes + present_bytes,
        )
        if self._on_progress:
            self._on_progress(self._progress)
