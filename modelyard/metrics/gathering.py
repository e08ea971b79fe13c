"""The metrics of all processes of a service replica, added up."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from modelyard.metrics.families import Family
from modelyard.metrics.journal import LOCK, SHEET, Journal, is_alive

KEPT = ("counter", "histogram")
"""What is taken over from a process that has ended; its gauges are gone with it."""


class Gathering(Collector):
    """Reads the journals below a directory; takes over those of the dead, so that what was counted stays counted."""

    def __init__(self, directory: Path, journal: Journal, families: Sequence[Family]) -> None:
        """`journal`: of this process; `families`: all that is exported."""
        self._directory = directory
        self._journal = journal
        self._families = families
        self._reading = threading.Lock()

    def collect(self) -> Iterator[Metric]:
        """Yield every family, one of which there is no value too. May be called in any thread."""
        with self._reading:
            merged = MultiProcessCollector.merge(self._files())  # type: ignore[no-untyped-call]
        found: dict[str, Metric] = {metric.name: metric for metric in merged}
        for family in self._families:
            yield found.get(family.base) or Metric(family.base, family.text, family.kind)

    def _files(self) -> list[str]:
        alive = {lock.stem for lock in self._directory.glob(f"*{LOCK}") if is_alive(lock)}
        return [str(f) for f in self._directory.glob(f"*{SHEET}") if f.name.startswith(KEPT) or _owner(f) in alive]

    def sample(self) -> None:
        """Take over what processes counted that have ended; called with the journal's lock, in its own thread.

        While the directory is being read, that is left to the next time.
        """
        if self._reading.acquire(blocking=False):
            try:
                for lock in self._directory.glob(f"*{LOCK}"):
                    if not is_alive(lock):
                        self._bury(lock)
            finally:
                self._reading.release()

    def _bury(self, lock: Path) -> None:
        for file in self._directory.glob(f"*_{lock.stem}.*"):
            kind = file.name.partition("_")[0]
            if kind in KEPT and file.suffix == SHEET:
                entries = MmapedDict.read_all_values_from_file(str(file))  # type: ignore[no-untyped-call]
                self._journal.absorb(kind, {key: value for key, value, _, _ in entries})
            file.unlink()
        lock.unlink()


def _owner(file: Path) -> str:
    return file.stem.rpartition("_")[2]
