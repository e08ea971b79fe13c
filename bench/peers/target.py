"""Who is measured: addresses and processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import grpc.aio

from modelyard.oip import messages
from modelyard.rpc.channel import Stub, open_channel

START_S = 120.0
POLL_S = 0.1
STOP_S = 30.0


@dataclass(frozen=True)
class Target:
    """A way to a server.

    Attributes:
        name: as in the report.
        pids: the roots of all its process trees; what any process in them burns counts.
        addresses: by model, where that differs from `address`.
        names: of models that it knows by another name.
        revive: starts the server again if it has died; returns whether it had.
    """

    name: str
    address: str
    pids: Callable[[], Sequence[int]]
    addresses: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    revive: Callable[[], bool] = lambda: False

    def address_of(self, model: str) -> str:
        """Where the model is called."""
        return self.addresses.get(model, self.address)

    def name_of(self, model: str) -> str:
        """What the model is called."""
        return self.names.get(model, model)


def free_port() -> int:
    """A port that nobody has just now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Server:
    """A server process that serves models at a port, and the processes that it starts."""

    def __init__(self, command: Sequence[object], environ: Mapping[str, str], log: Path) -> None:
        """Say how it is started; it does not run yet, and prints to `log`."""
        self._command = [str(c) for c in command]
        self._environ = environ
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._ready: tuple[str, Sequence[str]] = ("", ())

    def start(self, address: str, names: Sequence[str]) -> None:
        """Start it and wait until all models answer at the address; raise RuntimeError if it dies meanwhile."""
        with self._log.open("ab") as out:
            self._process = subprocess.Popen(
                self._command, env=self._environ, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )
        self._ready = address, names
        asyncio.run(_await_ready(address, names, self._check))

    def pids(self) -> list[int]:
        """Its one root."""
        return [self._running.pid]

    def revive(self) -> bool:
        """Start it again if it has died; return whether it had."""
        if self._running.poll() is None:
            return False
        self.stop()
        self.start(*self._ready)
        return True

    def stop(self) -> None:
        """Ask it to end; then kill what is left of its session, also where it died without its children."""
        self._running.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._running.wait(STOP_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._running.pid, signal.SIGKILL)
        self._running.wait()

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("expected a server that was started")
        return self._process

    def _check(self) -> None:
        if self._running.poll() is not None:
            text = self._log.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{self._command[0]} ended with {self._running.returncode}: {text}")


async def _await_ready(address: str, names: Sequence[str], check: Callable[[], None]) -> None:
    async with open_channel(address) as channel, asyncio.timeout(START_S):
        stub = Stub(channel, messages.SERVICE)
        for name in names:
            while True:
                check()
                if await _ready(stub, name):
                    break
                await asyncio.sleep(POLL_S)


async def _ready(stub: Stub, name: str) -> bool:
    try:
        return bool((await stub.ModelReady(messages.ModelReadyRequest(name=name))).ready)
    except grpc.aio.AioRpcError as error:
        if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.NOT_FOUND):
            return False
        raise
