"""A real etcd and a real Redis for tests, which can be stopped, killed, suspended and started again in place."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from modelyard.local import health
from modelyard.local.ports import Port
from modelyard.local.programs import etcd_command, redis_command
from modelyard.process import PARENT
from tests.waiting import wait_until


class ProgramServer:
    """A program on a port of its own that dies with the test run; its data outlives a restart."""

    def __init__(
        self, command: Sequence[str], ports: Sequence[Port], log: Path, answers: Callable[[str], Awaitable[None]]
    ) -> None:
        self.endpoint = ports[0].address
        self._command = command
        self._ports = ports
        self._log = log
        self._answers = answers
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it; call `wait_ready` before use."""
        with self._log.open("ab") as output:
            environ = {**os.environ, PARENT: str(os.getpid())}
            self._process = subprocess.Popen(self._command, env=environ, stdout=output, stderr=output)

    async def wait_ready(self) -> None:
        """Return once it answers."""
        await asyncio.wait_for(self._answers(self.endpoint), 60)

    def stop(self) -> None:
        """End it in order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self._end(signal.SIGKILL)

    def suspend(self) -> None:
        """SIGSTOP: it is there and, when this returns, says nothing (its threads stop one after the other)."""
        os.kill(self.pid, signal.SIGSTOP)
        tasks = Path(f"/proc/{self.pid}/task")
        wait_until(lambda: all(" T " in (task / "stat").read_text() for task in tasks.iterdir()))

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    async def restart(self) -> None:
        """Kill it, start it, wait until it answers."""
        self.kill()
        self.start()
        await self.wait_ready()

    def close(self) -> None:
        """End it for good."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
        for port in self._ports:
            port.release()

    def _end(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(60)


def new_etcd(directory: Path, *options: str) -> ProgramServer:
    """Return an etcd, not started, with its data and log in the directory; its own options overrule ours."""
    port, peer = Port(), Port()
    (directory / "data").mkdir(mode=0o700, parents=True)
    command = etcd_command(directory / "data", port.number, peer.number)
    return ProgramServer([*command, *options], [port, peer], directory / "log", health.etcd_answers)


def new_redis(directory: Path) -> ProgramServer:
    """Return a Redis, not started, with its data and log in the directory."""
    port = Port()
    (directory / "data").mkdir(parents=True)
    command = redis_command(directory / "data", port.number)
    return ProgramServer(command, [port], directory / "log", health.redis_answers)
