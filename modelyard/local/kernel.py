"""What the kernel says of processes (Linux, from /proc)."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """A process: its start, in clock ticks since boot, tells it from a later one of the same pid."""

    pid: int
    start_ticks: int

    @property
    def lives(self) -> bool:
        """Whether that very process still runs; one that only waits to be reaped does not."""
        return self._state() not in {"", "Z", "X"}

    @property
    def suspended(self) -> bool:
        """Whether a signal or a debugger stopped it."""
        return self._state() in {"T", "t"}

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        if self.lives:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _state(self) -> str:
        fields = _stat(self.pid)
        return fields[0] if fields and int(fields[19]) == self.start_ticks else ""


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on, the state; empty if there is no such process."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()  # the name before it may hold anything


def find(pid: int) -> Process | None:
    """Return the process of that pid, or None if there is none."""
    fields = _stat(pid)
    return Process(pid, int(fields[19])) if fields else None


def tree(pid: int) -> list[Process]:
    """Return the process of that pid and all its descendants, parents first."""
    everyone = {int(entry.name): _stat(int(entry.name)) for entry in _PROC.iterdir() if entry.name.isdigit()}
    grown = [pid] if everyone.get(pid) else []
    for parent in grown:
        grown.extend(child for child, fields in everyone.items() if fields and int(fields[1]) == parent)
    return [Process(member, int(everyone[member][19])) for member in grown]
