"""`modelyard up` for tests: a real suite in a directory of its own."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from modelyard.local import commands, health
from modelyard.local.kernel import Process, tree
from modelyard.local.state import Layout, ProcessStatus, State, Status
from modelyard.process import PARENT, REPORT
from modelyard.session import TTL_S


class RunningSuite:
    """A suite that is ready once this object is made. Its `up` dies with the test run."""

    def __init__(
        self,
        directory: Path,
        *,
        workers: int = 1,
        port: int = 0,
        capacity: str = "",
        processes: int = 1,
        store: str = "",
        lease_s: int = TTL_S,
    ) -> None:
        self.directory = directory
        self.address = ""
        self._layout = Layout(directory)
        self._flags = {
            "dir": directory,
            "workers": workers,
            "port": port,
            "capacity": capacity,
            "processes": processes,
            "store": store,
            "lease-s": lease_s,
        }
        self.output = ""
        """What `up` printed, once it has ended."""

        self._up: subprocess.Popen[str] | None = None
        self.up()

    def up(self) -> None:
        """Start it (again) and wait until it is ready."""
        read_fd, write_fd = os.pipe()
        with os.fdopen(read_fd) as reports:
            self._up = subprocess.Popen(
                [sys.executable, "-m", "modelyard.local", "up", *(f"--{k}={v}" for k, v in self._flags.items())],
                env={**os.environ, PARENT: str(os.getpid()), REPORT: str(write_fd)},
                pass_fds=[write_fd],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            os.close(write_fd)
            report = json.loads(reports.readline() or "{}")
        if report.get("state") != "ready":
            raise AssertionError(f"exit status {self.wait()}: {report} {self.output}")
        self.address = report["address"]

    @property
    def up_pid(self) -> int:
        """The pid of `up`."""
        assert self._up is not None
        return self._up.pid

    def status(self) -> Status:
        """What `modelyard status` says; for tests without a running loop."""
        return commands.status(self.directory)

    async def inspect(self) -> Status:
        """What `modelyard status` says."""
        return await health.inspect(self._layout)

    def process(self, name: str) -> ProcessStatus:
        """What the supervisor says of one process: cheap, and without asking the process."""
        return self._layout.read().process(name)

    def processes(self) -> Sequence[ProcessStatus]:
        """What the supervisor says of all processes: cheap, and without asking them."""
        return self._layout.read().processes

    def pid(self, name: str) -> int:
        """The pid of a process, such as `worker-0`."""
        return self.process(name).pid

    def ready(self, name: str, *, after: int = 0) -> bool:
        """Whether the process is ready, and is not the one of pid `after`."""
        process = self.process(name)
        return process.state is State.READY and process.pid != after

    def signal(self, name: str, number: signal.Signals) -> int:
        """Send a signal to a process; return the pid that it had."""
        pid = self.pid(name)
        os.kill(pid, number)
        return pid

    def kill(self, name: str) -> int:
        """SIGKILL to a process; return the pid that it had."""
        return self.signal(name, signal.SIGKILL)

    def tree(self) -> list[Process]:
        """`up` and every process below it."""
        return tree(self.up_pid)

    def wait(self) -> int:
        """Wait until `up` has ended; return its exit status."""
        assert self._up is not None
        if self._up.returncode is None:
            self.output = self._up.communicate(timeout=120)[0]
        return self._up.returncode

    def down(self) -> None:
        """Stop everything, if it runs."""
        with contextlib.redirect_stdout(io.StringIO()):
            commands.down(self.directory)
        self.wait()
