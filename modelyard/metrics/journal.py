"""What one process measures.

{directory}/{kind}_{owner}.db           a Sheet
{directory}/gauge_{mode}_{owner}.db     a Sheet of gauges that are added up, or of which the least counts
{directory}/{owner}.lock                locked (flock) while the owner lives
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from collections import defaultdict
from collections.abc import Collection, Mapping, MutableMapping
from pathlib import Path
from typing import TypeVar

from modelyard.metrics.families import Family
from modelyard.metrics.sheet import Cell, Histogram, Sheet, key_of, labels_of
from modelyard.names import ModelVersion

log = logging.getLogger(__name__)
T = TypeVar("T")
L = TypeVar("L", bound=tuple[str, ...])
Labels = tuple[str, ...]
DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
"""The variable by which a parent tells its children where their journals are kept."""
SHEET, LOCK = ".db", ".lock"
UNKNOWN = ModelVersion("", "")
"""Of calls that named nothing that is deployed."""


def inherited(environ: MutableMapping[str, str]) -> Path | None:
    """Take the variable out of `environ`; return the directory that it names, None if there is none."""
    named = environ.pop(DIRECTORY, "")
    return Path(named) if named else None


class Journal:
    """The values of one process. Not thread-safe: threads that share it hold its `lock`."""

    def __init__(self, directory: Path | None = None) -> None:
        """Keep it in a directory, or in memory."""
        self.lock = threading.Lock()
        self.owner = f"{os.getpid()}-{time.monotonic_ns():x}"
        self.versions: set[ModelVersion] = set()
        """Those of which it has values."""
        self._directory = directory
        self._sheets: dict[str, Sheet] = {}
        self._cells: defaultdict[Family, dict[Labels, Cell]] = defaultdict(dict)
        self._histograms: defaultdict[Family, dict[Labels, Histogram]] = defaultdict(dict)
        self._is_astray = False
        self._lock_fd = self._settle(directory) if directory else None

    def cell(self, family: Family, *labels: str) -> Cell:
        """Return a counter or a gauge."""
        found = self._cells[family].get(labels)
        if found is None:
            key = key_of(family.base, family.name, self._named(family, labels), family.text)
            found = self._cells[family][labels] = self._sheet(family.sheet).cell(key)
        return found

    def histogram(self, family: Family, *labels: str) -> Histogram:
        """Return a histogram."""
        found = self._histograms[family].get(labels)
        if found is None:
            named, sheet = self._named(family, labels), self._sheet(family.sheet)
            bounds = [*(str(bound) for bound in family.bounds), "+Inf"]
            key, bucket = family.base, f"{family.base}_bucket"
            buckets = [sheet.cell(key_of(key, bucket, {**named, "le": le}, family.text)) for le in bounds]
            total = sheet.cell(key_of(key, f"{key}_sum", named, family.text))
            found = self._histograms[family][labels] = Histogram(family.bounds, buckets, total)
        return found

    def replace(self, family: Family, values: Mapping[L, float]) -> None:
        """Make these all there is of a gauge, by the values of its labels."""
        for labels, value in values.items():
            self.cell(family, *labels).set(value)
        gone = self._cells[family].keys() - values.keys()
        named = [dict(zip(family.labels, old, strict=True)) for old in gone]
        self._sheet(family.sheet).drop([key_of(family.base, family.name, n, family.text) for n in named])
        for old in gone:
            del self._cells[family][old]

    def drop(self, versions: Collection[ModelVersion]) -> None:
        """Remove all values of these versions; their cells are to be asked for anew."""
        if not versions:
            return
        for sheet in self._sheets.values():
            sheet.drop([key for key in sheet.keys if _version(labels_of(key)) in versions])
        self.versions.difference_update(versions)
        for family, cells in self._cells.items():
            _forget(family, cells, versions)
        for family, histograms in self._histograms.items():
            _forget(family, histograms, versions)

    def absorb(self, sheet: str, values: Mapping[str, float]) -> None:
        """Add what another process had counted, by key."""
        for key, value in values.items():
            self._note(labels_of(key))
            self._sheet(sheet).cell(key).add(value)

    def mend(self) -> None:
        """Write anew what somebody has removed under this process: of files for temporary use, a cleaner may."""
        if self._directory is None or self._lock_fd is None:
            return
        try:
            if not self._lock.exists():
                gone, self._lock_fd = self._lock_fd, self._settle(self._directory)
                os.close(gone)
            for sheet in self._sheets.values():
                sheet.mend()
            self._is_astray = False
        except OSError as error:
            if not self._is_astray:
                log.error("metrics kept nowhere", extra={"directory": str(self._directory), "reason": str(error)})
            self._is_astray = True

    @property
    def _lock(self) -> Path:
        return (self._directory or Path()) / f"{self.owner}{LOCK}"

    def _settle(self, directory: Path) -> int:
        """Make the directory if it is not there, and lock this process's file in it."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if directory.is_symlink() or directory.stat().st_uid != os.getuid():
            raise OSError(f"{directory}: expected a directory of user {os.getuid()}, got one of another")
        return _hold(self._lock)

    def close(self) -> None:
        """Say that this process counts no more: its parent takes over what it has counted."""
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    def _named(self, family: Family, labels: tuple[str, ...]) -> dict[str, str]:
        named = dict(zip(family.labels, labels, strict=True))
        self._note(named)
        return named

    def _note(self, labels: Mapping[str, str]) -> None:
        version = _version(labels)
        if version and version != UNKNOWN:
            self.versions.add(version)

    def _sheet(self, name: str) -> Sheet:
        if name not in self._sheets:
            path = self._directory / f"{name}_{self.owner}{SHEET}" if self._directory else None
            self._sheets[name] = Sheet(path)
        return self._sheets[name]


def _forget(family: Family, of_labels: dict[Labels, T], versions: Collection[ModelVersion]) -> None:
    gone = [labels for labels in of_labels if _version(dict(zip(family.labels, labels, strict=True))) in versions]
    for labels in gone:
        del of_labels[labels]


def _version(labels: Mapping[str, str]) -> ModelVersion | None:
    return ModelVersion(labels["model"], labels["version"]) if "version" in labels else None


def _hold(path: Path) -> int:
    """Create a locked file; nobody sees it before it is locked."""
    draft = path.with_suffix(".new")
    descriptor = os.open(draft, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    draft.replace(path)
    return descriptor


def is_alive(lock: Path) -> bool:
    """Whether the process that locked a file still holds it."""
    try:
        descriptor = os.open(lock, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
