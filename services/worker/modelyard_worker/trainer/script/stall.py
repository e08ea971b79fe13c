"""A script that hangs: it prints nothing, changes nothing in its directory, and does not compute.

It is all that can be told of any program. Who waits for ever while it computes, as some collectives on GPUs do, is not
found.
"""

from __future__ import annotations

import time
from pathlib import Path

from modelyard.train.elastic.watch import LOOKS
from modelyard_worker.trainer.script.listing import files_below
from modelyard_worker.trainer.script.process import ScriptProcess

LEAST_CPU = 0.01
"""Of a core: what less is used is what threads use that only wait."""


class Stall:
    """Notices that of one rank's script."""

    def __init__(self, limit_s: float, process: ScriptProcess, directory: Path) -> None:
        """Begin with nothing seen.

        Args:
            limit_s: after which it hangs; it is measured in LOOKS, so that a pause of this very process does not count.
            process: the script.
            directory: where it runs.
        """
        self._pause_s = limit_s / LOOKS
        self._process = process
        self._directory = directory
        self._looks = 0
        self._looked_s = time.monotonic()
        self._cpu_s = process.cpu_s
        self._traces = self._left()

    def look(self) -> bool:
        """Return whether it has done nothing for so long; to be called often."""
        now_s = time.monotonic()
        if now_s - self._looked_s >= self._pause_s:
            self._looks = 0 if self._has_acted(now_s - self._looked_s) else self._looks + 1
            self._looked_s = now_s
        return self._looks >= LOOKS

    def _has_acted(self, passed_s: float) -> bool:
        cpu_s, traces = self._process.cpu_s, self._left()
        computed_s, changed = cpu_s - self._cpu_s, traces != self._traces
        self._cpu_s, self._traces = cpu_s, traces
        return changed or computed_s > LEAST_CPU * passed_s or computed_s < 0  # less: some of it has ended

    def _left(self) -> tuple[int, int]:
        """What it has printed, and what its directory looks like."""
        return self._process.printed_bytes, hash(tuple(_looks(path) for _, path in files_below(self._directory)))


def _looks(path: Path) -> tuple[str, int, int]:
    try:
        stat = path.stat()
    except OSError:
        return str(path), 0, -1
    return str(path), stat.st_mtime_ns, stat.st_size
