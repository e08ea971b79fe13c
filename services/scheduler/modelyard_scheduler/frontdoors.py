"""The front-door processes of one scheduler, on one port; one that dies or is stuck is started anew."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping

from modelyard import process
from modelyard.backoff import Backoff
from modelyard.config import without_settings
from modelyard_scheduler.config import Config

log = logging.getLogger(__name__)

GRACE_S = 15.0
LONG_LIFE_S = 10.0
START_TIMEOUT_S = 120.0
SILENCE_S = 5.0
"""A front door that says nothing for so long is stopped or stuck; the kernel still gives it connections."""


def reserve(host: str, port: int) -> socket.socket:
    """Return a socket that holds a port for processes that share it (SO_REUSEPORT), without listening on it.

    Raises:
        OSError: somebody listens there already. Without this look first, a second suite would silently share the port.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        port = probe.getsockname()[1]
    held = socket.socket(family)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    held.bind((host, port))
    return held


class FrontDoors:
    """Starts them, watches over them, stops them."""

    def __init__(self, config: Config, port: int, environ: Mapping[str, str]) -> None:
        """`environ`: what they get in their environment besides ours."""
        self._config = config
        self._environ = {**without_settings(os.environ), **environ}
        self._address = f"{config.host}:{port}"
        self._children: dict[str, process.Child] = {}
        self._ready = [asyncio.Event() for _ in range(config.processes)]

    async def run(self) -> None:
        """Keep all of them running, until cancelled."""
        await asyncio.gather(*(self._keep(index) for index in range(self._config.processes)))

    async def ready(self) -> None:
        """Wait until each has been ready once."""
        for event in self._ready:
            await event.wait()

    async def stop(self) -> None:
        """Drain all of them."""
        await asyncio.gather(*(child.stop(GRACE_S) for child in self._children.values()))

    async def _keep(self, index: int) -> None:
        name = f"{self._config.id}/frontdoor-{index}"
        backoff = Backoff(0.1, 5.0)
        command = [sys.executable, "-m", "modelyard_scheduler.frontdoor", "--name", name, "--address", self._address]
        command += ["--etcd", self._config.etcd, "--log-level", self._config.log_level]
        while True:
            started_s = asyncio.get_running_loop().time()
            child = self._children[name] = await process.start(command, self._environ, None)
            ended = await self._follow(child, self._ready[index])
            log.error("front door ended, starting it anew", extra={"name_": name, "reason": ended})
            if asyncio.get_running_loop().time() - started_s > LONG_LIFE_S:
                backoff.reset()
            await asyncio.sleep(backoff.next())

    @staticmethod
    async def _follow(child: process.Child, ready: asyncio.Event) -> str:
        """Return how it ended; one that is silent is killed."""
        try:
            async for report in child.heard(START_TIMEOUT_S, SILENCE_S):
                if report["state"] == "ready":
                    ready.set()
        except process.SilentError as error:
            child.signal(signal.SIGKILL)
            await child.wait()
            return f"{error} and was killed"
        return process.describe_exit(await child.wait())
