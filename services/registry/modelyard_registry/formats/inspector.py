"""Has artifacts read by processes of their own: bounded in time and number, and free to die."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from modelyard import codec, process
from modelyard.catalogue import Signature
from modelyard.errors import ExhaustedError, InvalidInputError
from modelyard_registry.formats.known import ALLOW_UNSAFE

TIMEOUT_S = 120.0
PARALLEL = 2
"""So many artifacts are read at a time: each may take a few times its size in memory."""


class Inspector:
    """Reads signatures."""

    def __init__(self, environ: Mapping[str, str], timeout_s: float = TIMEOUT_S, *, allow_unsafe: bool = False) -> None:
        """`environ` is handed to the processes; `allow_unsafe`: accept pickles and custom code in artifacts."""
        self._environ = environ
        self._timeout_s = timeout_s
        self._options = [ALLOW_UNSAFE] if allow_unsafe else []
        self._slots = asyncio.Semaphore(PARALLEL)

    async def signature(self, format_name: str, directory: Path) -> Signature:
        """Check the artifact in a directory and return its signature.

        Raises:
            InvalidInputError: the files are not what the format asks for, or reading them crashes or takes too long.
            ExhaustedError: the process was killed, which is what happens when memory runs out.
        """
        async with self._slots:
            report, returncode = await self._inspect(format_name, directory)
        if "signature" in report:
            return codec.decode(Signature, report["signature"].encode())
        if "error" in report:
            raise InvalidInputError(report["error"])
        ended = process.describe_exit(returncode)
        if returncode == -signal.SIGKILL:
            raise ExhaustedError(f"{format_name}: reading the artifact was {ended}")
        if returncode < 0:
            raise InvalidInputError(f"{format_name}: expected an artifact that can be read; the reader was {ended}")
        raise RuntimeError(f"inspection ended with {ended}")

    async def _inspect(self, format_name: str, directory: Path) -> tuple[dict[str, str], int]:
        command = [sys.executable, "-P", "-m", "modelyard_registry.formats.inspection"]
        command += [format_name, str(directory), *self._options]
        child = await process.start(command, self._environ, None)
        try:
            async with asyncio.timeout(self._timeout_s):
                reports = [report async for report in child.reports()]
                return (reports or [{}])[-1], await child.wait()
        except TimeoutError:
            raise InvalidInputError(
                f"{format_name}: expected an artifact that can be read within {self._timeout_s:g} s"
            ) from None
        finally:
            child.signal(signal.SIGKILL)
