"""Workers beside those that a suite has of its own: slower ones, and ones that come and go."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelyard.config import TEST_RUNTIME, without_settings
from modelyard.local.commands import Status
from modelyard.process import PARENT, REPORT

STOP_S = 30.0


@dataclass(frozen=True)
class Added:
    """A worker that was started; times by `time.time`, before its process and when it had announced itself."""

    pid: int
    started_s: float
    announced_s: float


@contextlib.contextmanager
def worker(suite: Status, name: str, factor: float = 1.0, flags: Sequence[str] = ()) -> Iterator[Added]:
    """Run one more worker in a suite with delays, each of which is `factor` times as long there; end it afterwards.

    `flags` are for its command line.
    """
    started_s = time.time()
    read_fd, write_fd = os.pipe()
    environ = without_settings(os.environ) | {PARENT: str(os.getpid()), REPORT: str(write_fd)}
    environ[TEST_RUNTIME] = f"delay:{factor:g}"
    directory = Path(suite.directory) / name
    directory.mkdir()
    with (directory / "log").open("w") as log, os.fdopen(read_fd) as reports:
        process = subprocess.Popen(
            [*_command(suite, name, directory), *flags], env=environ, stdout=log, stderr=log, pass_fds=[write_fd]
        )
        os.close(write_fd)
        try:
            wait_ready(reports)
            yield Added(process.pid, started_s, time.time())
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(STOP_S)


def _command(suite: Status, name: str, directory: Path) -> list[str]:
    flags = {
        "id": name,
        "etcd": suite.process("etcd").address,
        "redis": suite.process("redis").address,
        "port": "0",
        "metrics-port": "0",
        "data-dir": str(directory),
        "drain-s": "0",
    }
    return [sys.executable, "-P", "-m", "modelyard_worker", *(f"--{flag}={value}" for flag, value in flags.items())]


def wait_ready(reports: Iterator[str]) -> None:
    """Return when a worker says so; raise RuntimeError if it ends before."""
    for line in reports:
        if json.loads(line).get("state") == "ready":
            return
    raise RuntimeError("a worker ended before it was ready")
