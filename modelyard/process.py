"""Processes that belong together: a child that dies with its parent and reports to it over a pipe.

A child of ours is started with MODELYARD_PARENT_PID and MODELYARD_REPORT_FD in its environment. It asks the kernel to
be killed when its parent dies, and writes one JSON object a line into the pipe: what it is ready to say.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import IO, Any

PARENT = "MODELYARD_PARENT_PID"
REPORT = "MODELYARD_REPORT_FD"
MAX_REPORT_BYTES = 16 << 20
READ_BYTES = 64 << 10
BEAT_S = 0.5
LOOKS = 5
"""Silence is measured in so many parts, so that a pause of this very process does not count as the child's."""
DESCRIPTORS = 1 << 18
_PR_SET_PDEATHSIG = 1


def die_with(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent dies; exit at once if that has happened (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(1)


def allow_descriptors() -> None:
    """Let this process, and those that it starts, open as many files and connections as the system lets it.

    The limit that a shell sets, often 1,024, is for programs that call select: a front door has more clients than that.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if most == resource.RLIM_INFINITY else min(most, DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


class Parent:
    """The process that started this one, if it was one of ours."""

    def __init__(self, environ: dict[str, str]) -> None:
        """Take our two variables out of `environ`, so that a service's own configuration does not see them."""
        pid, report = environ.pop(PARENT, None), environ.pop(REPORT, None)
        self._report_fd = int(report) if report else None
        self._reporting = threading.Lock()
        if self._report_fd is not None:
            os.set_inheritable(self._report_fd, False)
        if pid:
            die_with(int(pid))

    def report(self, **facts: Any) -> None:
        """Tell the parent; without one, do nothing. In any thread: a long line is not mixed with another's."""
        self.tell(json.dumps(facts).encode())

    def tell(self, line: bytes) -> None:
        """As `report`, a JSON object as it is."""
        if self._report_fd is not None:
            with self._reporting:
                os.write(self._report_fd, line + b"\n")

    async def orders(self) -> AsyncIterator[bytes]:
        """The lines that the parent writes to standard input (`Child.order`), until it closes it."""
        reader = _reader_of(sys.stdin.fileno())
        while line := await reader.readline():
            yield line

    def start_beating(self, alive: Callable[[], bool] = lambda: True) -> None:
        """Report {"state": "beat"} twice a second from now on, from a thread that computation cannot block.

        `alive`: asked each time, in that thread; without it there is no beat.
        """
        pause = threading.Event()

        def beat() -> None:
            while not pause.wait(BEAT_S):
                if alive():
                    self.report(state="beat")

        threading.Thread(target=beat, name="heartbeat", daemon=True).start()


class SilentError(Exception):
    """A child that is to beat says nothing: it is stopped or stuck."""


class Child:
    """A process that was started by `start`."""

    def __init__(self, process: asyncio.subprocess.Process, reports: asyncio.StreamReader) -> None:
        self._process = process
        self._reports = reports
        self._heard_s = time.monotonic()

    @property
    def silent_s(self) -> float:
        """Seconds since `heard` was told something, at first since the start."""
        return time.monotonic() - self._heard_s

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._process.returncode

    async def reports(self) -> AsyncIterator[dict[str, Any]]:
        """What the child reports, until it ends."""
        while line := await self._reports.readline():
            yield json.loads(line)

    async def heard(self, first_s: float, silence_s: float) -> AsyncIterator[dict[str, Any]]:
        """What a child that beats reports, until it ends.

        Raises:
            SilentError: it said nothing for `first_s`, or after its first report for `silence_s`.
        """
        limit_s, looks = first_s, LOOKS
        while looks:
            try:
                # Not wait_for: before Python 3.12 it drops a cancellation that comes together with a beat.
                async with asyncio.timeout(limit_s / LOOKS):
                    line = await self._reports.readline()
            except TimeoutError:
                looks -= 1
                continue
            if not line:
                return
            limit_s, looks = silence_s, LOOKS
            self._heard_s = time.monotonic()
            yield json.loads(line)
        raise SilentError(f"it was silent for {limit_s:g} s")

    async def order(self, line: bytes) -> None:
        """Write a line to a child that was started with `orders`, as it can read it; one that has ended is no error."""
        stdin = self._process.stdin
        if stdin is not None:
            with contextlib.suppress(ConnectionError):
                stdin.write(line + b"\n")
                await stdin.drain()

    async def wait(self) -> int:
        """Return the exit status."""
        return await self._process.wait()

    async def ended(self, patience_s: float) -> str:
        """How it ended, now that its pipe is closed; if it only closed the pipe it is killed after `patience_s`."""
        try:
            async with asyncio.timeout(patience_s):
                return describe_exit(await self.wait())
        except TimeoutError:
            self.signal(signal.SIGKILL)
            await self.wait()
            return "it closed its report pipe and was killed"

    def signal(self, number: int) -> None:
        """Send a signal; a child that has ended is no error."""
        # Not send_signal: that looks first whether the child has ended, and asyncio would not learn its status then.
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def end_group(self) -> None:
        """Send SIGKILL to all that it has started and that is in its process group still. Call it once it has ended."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    async def stop(self, grace_s: float) -> int:
        """SIGTERM, then SIGKILL after the grace period; a stopped child is woken, so that it can end in order."""
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)
        try:
            async with asyncio.timeout(grace_s):
                return await self._process.wait()
        except TimeoutError:
            self.signal(signal.SIGKILL)
            return await self._process.wait()


async def start(
    command: Sequence[str],
    environ: Mapping[str, str],
    output: IO[bytes] | int | None,
    cwd: str | None = None,
    *,
    orders: bool = False,
) -> Child:
    """Start a child that dies with this process. Call it from the main thread: the kernel watches the thread.

    It gets a session of its own, so that a terminal's Ctrl-C reaches only us, and we stop the children in order.
    `orders`: its standard input is what `Child.order` writes; else there is none.
    """
    read_fd, write_fd = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            env={"GRPC_ENABLE_FORK_SUPPORT": "0", **environ, PARENT: str(os.getpid()), REPORT: str(write_fd)},
            stdin=asyncio.subprocess.PIPE if orders else asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[write_fd],
            cwd=cwd,
            start_new_session=True,
        )
    except BaseException:
        os.close(read_fd)
        raise
    finally:
        os.close(write_fd)
    return Child(process, _reader_of(read_fd))


def _reader_of(fd: int) -> asyncio.StreamReader:
    """Read a pipe to its end in the running loop, and close it there.

    Not by connect_read_pipe: uvloop closes the descriptor twice, and the second time it may be another's (uvloop #763).
    """
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=MAX_REPORT_BYTES)

    def read() -> None:
        if data := os.read(fd, READ_BYTES):
            reader.feed_data(data)
        else:
            loop.remove_reader(fd)
            os.close(fd)
            reader.feed_eof()

    loop.add_reader(fd, read)
    return reader


def describe_exit(returncode: int) -> str:
    """Say how a process ended: `exit status 3`, `killed by SIGSEGV`."""
    if returncode >= 0:
        return f"exit status {returncode}"
    try:
        return f"killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"killed by signal {-returncode}"
