"""The export of what was trained, in a process of its own: whatever becomes of it, this one has the weights."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelyard import process
from modelyard.train.export import handover
from modelyard.train.export.trained import Trained

log = logging.getLogger(__name__)
EXPORT_S = 900.0
"""A model that takes longer than this has its weights published alone."""
WEIGHTS = "safetensors"
_COMMAND = (sys.executable, "-m", "modelyard.train.export")


@dataclass(frozen=True)
class Exported:
    """What came of an export.

    Attributes:
        artifact: a directory with what is to be served, or if there is no such thing with the weights; None: nothing.
        is_served: whether it is to be served.
        reasons: why a format is not there, by its name; "export": why there is nothing.
    """

    artifact: Path | None = None
    is_served: bool = False
    reasons: Mapping[str, str] = field(default_factory=dict)


class Exporter:
    """Starts a process for each export, whose output goes where that of this process goes."""

    def __init__(self, code: Path, loop: asyncio.AbstractEventLoop, limit_s: float = EXPORT_S) -> None:
        """Nothing is started yet.

        Args:
            code: the directory that the user's module is imported from.
            loop: runs in the main thread: the kernel ends a child when the thread ends that has started it.
            limit_s: how long an export may take.
        """
        self._code = code
        self._loop = loop
        self._limit_s = limit_s

    def export(self, trained: Trained, directory: Path) -> Exported:
        """Export into a directory, which is created; blocks, not in the loop's own thread. What fails is a reason."""
        handed = directory.with_suffix(".handed")
        try:
            handover.write(handed, trained)
        except Exception as error:
            return _failed(f"what was trained cannot be handed over: {type(error).__name__}: {error}")
        call = self._run([*_COMMAND, str(handed), str(directory), str(self._code)])
        try:
            report = asyncio.run_coroutine_threadsafe(call, self._loop).result()
        finally:
            handed.unlink(missing_ok=True)
        if "failed" in report:
            return _failed(report["failed"])
        return Exported(directory / report["served"], report["served"] != WEIGHTS, report["reasons"])

    async def _run(self, command: list[str]) -> dict[str, Any]:
        """What the process reports, or that it has not."""
        try:
            child = await process.start(command, os.environ, None)
        except OSError as error:
            return {"failed": f"its process could not be started: {error}"}
        log.info("export started", extra={"child": child.pid})
        try:
            async with asyncio.timeout(self._limit_s):
                reports = [report async for report in child.reports()]
                ended = process.describe_exit(await child.wait())
        except TimeoutError:
            return {"failed": f"it took longer than {self._limit_s:g} s"}
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)  # with all that it has started
            await child.wait()
        return reports[0] if reports else {"failed": f"its process ended: {ended}"}


def _failed(reason: str) -> Exported:
    log.error("export failed", extra={"reason": reason})
    return Exported(reasons={"export": reason.strip()[:500]})
