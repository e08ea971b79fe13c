"""A user's script that runs: a child of this process, in a process group of its own, that dies with it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Event, Thread
from typing import IO

import psutil

from modelyard_worker.trainer.script import start
from modelyard_worker.training import started

GRACE_S = 10.0
"""From SIGTERM to SIGKILL."""
LAST_S = 3.0
"""Likewise, where the process that has started it is to end itself: its agent waits for 4 s."""
LOOK_S = 0.02
DRAIN_S = 1.0
"""How long what it has printed is waited for once it has ended: who it started may hold the pipe."""
TAIL_BYTES = 64 << 10
STACK_S = 3.0
"""How long a script may take to print where it is."""
MARK = "TRAINING_SCRIPT_OF_MODELYARD"
"""A variable of one start of a script, by which all that it has started is found."""


class ScriptProcess:
    """A command that was started; what it prints goes where this process prints.

    Attributes:
        pid: of the process, and of its group.
        printed_bytes: so much it has printed.
    """

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], directory: Path) -> None:
        """Start it in a directory, with nothing but this environment.

        Raises:
            OSError: it cannot be started.
        """
        self._mark = uuid.uuid4().hex
        launch = (sys.executable, "-S", "-E", start.__file__, str(os.getpid()))
        self._process = subprocess.Popen(
            (*launch, *command),
            cwd=directory,
            env={**environ, MARK: self._mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.pid = self._process.pid
        self.printed_bytes = 0
        self._tail = b""
        self._asked_s: float | None = None
        self._ended = Event()
        assert self._process.stdout is not None  # noqa: S101 (for mypy)
        assert self._process.stderr is not None  # noqa: S101 (for mypy)
        pipes = ((self._process.stdout, self._read), (self._process.stderr, self._read_errors))
        self._readers = [Thread(target=read, args=(pipe,), name="script-output", daemon=True) for pipe, read in pipes]
        for reader in self._readers:
            reader.start()

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
            started.end(self._mark, MARK)  # what has left the group, too
            self._process.wait()
            for reader in self._readers:
                reader.join(DRAIN_S)
            self._ended.set()
        return self._process.returncode

    @property
    def cpu_s(self) -> float:
        """Seconds that it has computed for, with all that it has started that is not on its own by now."""
        total = 0.0
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.pid)
            for one in (process, *process.children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    times = one.cpu_times()
                    total += times.user + times.system + times.children_user + times.children_system
        return total

    def abort(self) -> str:
        """End it; return where it was, if it says so at SIGABRT, as Python's faulthandler does; empty: it does not."""
        self._tail = b""
        if not self.has_ended and _catches(self.pid, signal.SIGABRT):  # its number may be another's by then
            for number in (signal.SIGCONT, signal.SIGABRT):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, number)
            ends_s = time.monotonic() + STACK_S
            while not self.has_ended and time.monotonic() < ends_s:
                time.sleep(LOOK_S)
        self.end(0.0)
        return self.tail

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
                self.printed_bytes += len(data)
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()

    def _read_errors(self, pipe: IO[bytes]) -> None:
        with pipe:
            while data := os.read(pipe.fileno(), TAIL_BYTES):
                self.printed_bytes += len(data)
                self._tail = (self._tail + data)[-TAIL_BYTES:]
                sys.stderr.buffer.write(data)
                sys.stderr.buffer.flush()


def _catches(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal; what the system does not say counts as none."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    caught = next((int(line.split()[1], 16) for line in lines if line.startswith("SigCgt:")), 0)
    return bool(caught >> (number - 1) & 1)
