"""A suite's directory: where everything is kept, who runs it, and what it last said of itself.

etcd/ redis/ store/ worker-N/     data
metrics/                          what registry and scheduler count
logs/NAME.log                     what each process printed
settings.json                     Settings: what the registry was told
run/lock                          locked (flock) by the `up` that runs; holds its pid
run/state.json                    Status, written anew at every change
"""

from __future__ import annotations

import fcntl
import os
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from modelyard import codec
from modelyard.errors import PreconditionError
from modelyard.local import kernel


class State(StrEnum):
    """The life of a supervised process; the last two are what `status` finds."""

    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    DEAD = "dead"
    UNRESPONSIVE = "unresponsive"


@dataclass(frozen=True)
class ProcessStatus:
    """One process: `restarts` since `up`, `reason` of the last one or of what is wrong now.

    `start_ticks` is when the kernel started it, in clock ticks since boot: its identity together with the pid.
    `metrics` is host:port of its page for Prometheus.
    """

    name: str
    pid: int = 0
    address: str = ""
    state: State = State.STARTING
    restarts: int = 0
    reason: str = ""
    start_ticks: int = 0
    metrics: str = ""

    @property
    def process(self) -> kernel.Process:
        """What the kernel knows it as."""
        return kernel.Process(self.pid, self.start_ticks)


@dataclass(frozen=True)
class Status:
    """A suite: whether it runs, the pid of its `up`, its front door, its processes."""

    running: bool
    directory: str
    pid: int = 0
    address: str = ""
    processes: tuple[ProcessStatus, ...] = ()

    def process(self, name: str) -> ProcessStatus:
        """Return the process of that name; raise KeyError if there is none."""
        return {p.name: p for p in self.processes}[name]


class Layout:
    """The paths below a suite's directory."""

    def __init__(self, directory: Path) -> None:
        self.root = directory.resolve()
        self.etcd = self.root / "etcd"
        self.redis = self.root / "redis"
        self.store = self.root / "store"
        self.metrics = self.root / "metrics"
        self.logs = self.root / "logs"
        self.settings = self.root / "settings.json"
        self.lock = self.root / "run" / "lock"
        self.state = self.root / "run" / "state.json"

    def worker(self, name: str) -> Path:
        """Where a worker keeps its cache."""
        return self.root / name

    def log(self, name: str) -> Path:
        """What a process printed."""
        return self.logs / f"{name}.log"

    def create(self) -> None:
        """Make the directories; raise PreconditionError if that cannot be."""
        try:
            for folder in (self.etcd, self.redis, self.store, self.logs, self.lock.parent):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PreconditionError(f"cannot keep state in {self.root}: {error.strerror}: {error.filename}") from error
        self.etcd.chmod(0o700)  # as etcd wants it

    def read(self) -> Status:
        """Return what the suite last said of itself."""
        data = self.state.read_bytes() if self.state.exists() else b""
        return codec.decode(Status, data) if data else Status(running=False, directory=str(self.root))

    def write(self, status: Status) -> None:
        """Replace the state as a whole: a reader sees the old or the new one."""
        draft = self.state.with_suffix(".new")
        draft.write_bytes(codec.encode(status))
        draft.replace(self.state)

    def forget(self) -> None:
        """Remove the state."""
        self.state.unlink(missing_ok=True)

    def holder(self) -> int:
        """Return the pid of the `up` that holds the lock, 0 if nobody does."""
        try:
            descriptor = os.open(self.lock, os.O_RDONLY)
        except FileNotFoundError:
            return 0
        try:
            while not _try_lock(descriptor, fcntl.LOCK_SH):
                if text := os.pread(descriptor, 32, 0):
                    return int(text)
                time.sleep(0.005)  # it is about to write its pid, or to go
        finally:
            os.close(descriptor)
        return 0


class Lock:
    """The right to run the suite of one directory, held until released or until this process ends."""

    def __init__(self, layout: Layout) -> None:
        """Take the lock.

        Raises:
            PreconditionError: a suite runs there; the message has its pid and address.
        """
        self._descriptor = os.open(layout.lock, os.O_RDWR | os.O_CREAT, 0o644)
        while not _try_lock(self._descriptor, fcntl.LOCK_EX):
            pid = layout.holder()
            if pid and kernel.find(pid):
                os.close(self._descriptor)
                address = layout.read().address
                raise PreconditionError(f"modelyard already runs in {layout.root}: pid {pid}, {address or 'starting'}")
            time.sleep(0.005)  # a `status` looked at the lock
        os.truncate(self._descriptor, 0)
        os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Let another suite run there."""
        os.truncate(self._descriptor, 0)
        os.close(self._descriptor)


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
