"""Whether reading gets on: who reads from what is watched here moves the pulse, with every read that is answered."""

from __future__ import annotations

from collections.abc import Sequence

from modelyard.datasets.opening import is_directory
from modelyard.datasets.source import Directory, Source


class Pulse:
    """Counts what was done. `move` and `beats` may be called by different threads."""

    def __init__(self) -> None:
        self._moves = 0
        self._seen = -1

    def move(self) -> None:
        """Something was done."""
        self._moves += 1

    def beats(self) -> bool:
        """Whether something was done since the last time this was asked."""
        seen, self._seen = self._seen, self._moves
        return self._seen != seen

    def watched(self, content: Source | Directory) -> Source | Directory:
        """The same content, whose reads move the pulse."""
        return WatchedDirectory(content, self) if is_directory(content) else WatchedSource(content, self)  # type: ignore[arg-type]


class WatchedSource:
    """A source that moves a pulse."""

    def __init__(self, source: Source, pulse: Pulse) -> None:
        self._source = source
        self._pulse = pulse
        self.name = source.name
        self.size_bytes = source.size_bytes

    def read(self, offset: int, length: int) -> bytes:
        """As Source says."""
        data = self._source.read(offset, length)
        self._pulse.move()
        return data


class WatchedDirectory:
    """A directory whose files move a pulse."""

    def __init__(self, directory: Directory, pulse: Pulse) -> None:
        self._directory = directory
        self._pulse = pulse
        self.name = directory.name

    def paths(self) -> Sequence[str]:
        """As Directory says."""
        return self._directory.paths()

    def open(self, path: str) -> Source:
        """As Directory says."""
        return WatchedSource(self._directory.open(path), self._pulse)
