"""A user's script that runs: a child of this process, in a process group of its own, that dies with it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Event, Thread
from typing import IO

from modelyard_worker.trainer.script import start

GRACE_S = 10.0
"""From SIGTERM to SIGKILL."""
LAST_S = 3.0
"""Likewise, where the process that has started it is to end itself: its agent waits for 4 s."""
LOOK_S = 0.02
DRAIN_S = 1.0
"""How long what it has printed is waited for once it has ended: who it started may hold the pipe."""
TAIL_BYTES = 64 << 10


class ScriptProcess:
    """A command that was started; what it prints goes where this process prints.

    Attributes:
        pid: of the process, and of its group.
    """

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], directory: Path) -> None:
        """Start it in a directory, with nothing but this environment.

        Raises:
            OSError: it cannot be started.
        """
        launch = (sys.executable, "-S", "-E", start.__file__, str(os.getpid()))
        self._process = subprocess.Popen(
            (*launch, *command),
            cwd=directory,
            env=environ,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.pid = self._process.pid
        self._tail = b""
        self._asked_s: float | None = None
        self._ended = Event()
        assert self._process.stderr is not None  # noqa: S101 (for mypy)
        self._reader = Thread(target=self._read, args=(self._process.stderr,), name="script-stderr", daemon=True)
        self._reader.start()

    @property
    def tail(self) -> str:
        """The end of what it printed as errors."""
        return self._tail.decode(errors="replace")

    @property
    def has_ended(self) -> bool:
        """Whether it has. It is not reaped, so that its process group remains its own until `end`."""
        if self._process.returncode is not None:
            return True
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def end(self, grace_s: float = GRACE_S) -> int:
        """End it, if it has not ended by itself, and all that it has started; return its status, or minus a signal.

        Args:
            grace_s: from SIGTERM to SIGKILL.
        """
        if self._process.returncode is None:
            self._terminate(grace_s)
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._reader.join(DRAIN_S)
            self._ended.set()
        return self._process.returncode

    def wait(self, grace_s: float) -> None:
        """Wait, in another thread, until `end` is through, or so long has passed since SIGTERM."""
        asked_s = self._asked_s or time.monotonic()
        self._ended.wait(max(0.0, asked_s + grace_s - time.monotonic()))

    def _terminate(self, grace_s: float) -> None:
        ends_s = time.monotonic() + grace_s
        if not self.has_ended:
            self._asked_s = time.monotonic()
            self._signal(signal.SIGTERM)
            self._signal(signal.SIGCONT)
        while not self.has_ended and time.monotonic() < ends_s:
            time.sleep(LOOK_S)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def _read(self, pipe: IO[bytes]) -> None:
        with pipe:
            while data := os.read(pipe.fileno(), TAIL_BYTES):
                self._tail = (self._tail + data)[-TAIL_BYTES:]
                sys.stderr.buffer.write(data)
                sys.stderr.buffer.flush()
