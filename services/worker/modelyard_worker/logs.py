"""What runners print: a file each, which is bounded, and removed when its runner has long been gone.

{directory}/{runner}.log      what a runner printed; it is named as its instance, or as the instances that share it say
{directory}/{runner}.log.1    what it had printed before that

A runner writes to the file itself: what it prints never waits for this process, and what it says as it dies is kept.
So the file cannot be renamed under it; its end is copied, then it is emptied. What is printed between the two is lost,
and so is what cannot be copied because the disk is full. One who prints without pause takes between two looks what it
prints in a second at most, and in a tenth of one from then on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import IO

log = logging.getLogger(__name__)

LIMIT_BYTES = 8 << 20
KEEP_S = 7 * 86_400.0
LOOK_S, HASTE_S = 1.0, 0.1
"""Between two looks, and after one that found too much."""
BLOCK_BYTES = 1 << 20


class RunnerLogs:
    """The log files of a worker's runners."""

    def __init__(self, directory: Path, limit_bytes: int = LIMIT_BYTES, keep_s: float = KEEP_S) -> None:
        """Keep of each runner between one and two times `limit_bytes`, and for `keep_s` after it last printed."""
        self._directory = directory
        self._limit_bytes = limit_bytes
        self._keep_s = keep_s

    def open(self, runner: str) -> IO[bytes]:
        """Open the log of a runner for it to write to."""
        self._directory.mkdir(parents=True, exist_ok=True)
        return self._path(runner).open("ab")

    def tail(self, runners: Sequence[str], size_bytes: int) -> bytes | None:
        """Return the last bytes of the logs of these runners, one after the other; None if there is none."""
        parts = [path for name in runners for path in (_old(self._path(name)), self._path(name)) if path.is_file()]
        if not parts:
            return None
        data = b""
        for path in reversed(parts):
            data = _end(path, size_bytes - len(data)) + data
        return data

    async def run(self, in_use: Callable[[], Collection[str]]) -> None:
        """Bound the logs until cancelled; those of the runners `in_use` are not removed."""
        while True:
            cut = await asyncio.to_thread(self.bound, in_use())
            await asyncio.sleep(HASTE_S if cut else LOOK_S)

    def bound(self, in_use: Collection[str]) -> bool:
        """Cut the logs that are too long, and return whether there are any; remove those unused for long."""
        cut = False
        for path in self._directory.glob("*.log"):
            try:
                cut |= self._bound(path, kept=path.stem in in_use)
            except OSError as error:
                log.error("a runner's log could not be bounded", extra={"file": str(path), "reason": str(error)})
        return cut

    def _bound(self, path: Path, *, kept: bool) -> bool:
        stat = path.stat()
        if not kept and time.time() - stat.st_mtime > self._keep_s:
            log.info("log removed", extra={"runner": path.stem})
            for file in (_old(path), _scratch(path), path):
                file.unlink(missing_ok=True)
            return False
        if stat.st_size <= self._limit_bytes:
            return False
        try:
            self._copy_end(path, stat.st_size)
        finally:
            os.truncate(path, 0)
        return True

    def _copy_end(self, path: Path, size_bytes: int) -> None:
        """Copy what was its end when it had that size: whoever prints faster than this copies does not keep it busy."""
        left = self._limit_bytes
        try:
            with path.open("rb") as source, _scratch(path).open("wb") as target:
                source.seek(size_bytes - left)
                while left and (block := source.read(min(left, BLOCK_BYTES))):
                    left -= target.write(block)
            _scratch(path).replace(_old(path))
        except OSError:
            _scratch(path).unlink(missing_ok=True)
            raise

    def _path(self, runner: str) -> Path:
        return self._directory / f"{runner}.log"


def _scratch(path: Path) -> Path:
    return path.with_suffix(".log.new")


def _old(path: Path) -> Path:
    return path.with_suffix(".log.1")


def _end(path: Path, size_bytes: int) -> bytes:
    if size_bytes <= 0:
        return b""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - size_bytes))
        return file.read(size_bytes)
