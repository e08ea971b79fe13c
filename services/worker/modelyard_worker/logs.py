"""What runners print: a file each, which is bounded, and removed when its runner has long been gone.

{directory}/{runner}.log      what a runner printed; it is named as its instance, or as the instances that share it say
{directory}/{runner}.log.1    what it had printed before that

A runner writes to the file itself: what it prints never waits for this process, and what it says as it dies is kept.
So the file cannot be renamed under it; it is copied, then emptied. A line printed between the two is lost.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import IO

log = logging.getLogger(__name__)

LIMIT_BYTES = 8 << 20
KEEP_S = 7 * 86_400.0
LOOK_S = 5.0


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
            try:
                await asyncio.to_thread(self.bound, in_use())
            except OSError as error:
                log.error("runners' logs could not be bounded", extra={"reason": str(error)})
            await asyncio.sleep(LOOK_S)

    def bound(self, in_use: Collection[str]) -> None:
        """Cut the logs that are too long; remove those that nobody has written to for long."""
        for path in self._directory.glob("*.log"):
            stat = path.stat()
            if path.stem not in in_use and time.time() - stat.st_mtime > self._keep_s:
                log.info("log removed", extra={"runner": path.stem})
                _old(path).unlink(missing_ok=True)
                path.unlink()
            elif stat.st_size > self._limit_bytes:
                self._rotate(path)

    def _rotate(self, path: Path) -> None:
        scratch = path.with_suffix(".log.new")
        with path.open("rb") as source, scratch.open("wb") as target:
            source.seek(-self._limit_bytes, os.SEEK_END)
            shutil.copyfileobj(source, target)
        scratch.replace(_old(path))
        os.truncate(path, 0)

    def _path(self, runner: str) -> Path:
        return self._directory / f"{runner}.log"


def _old(path: Path) -> Path:
    return path.with_suffix(".log.1")


def _end(path: Path, size_bytes: int) -> bytes:
    if size_bytes <= 0:
        return b""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - size_bytes))
        return file.read(size_bytes)
