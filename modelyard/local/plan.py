"""What `up` runs, and in which order it stops it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from modelyard.config import without_settings
from modelyard.errors import InvalidInputError, PreconditionError
from modelyard.local import health
from modelyard.local.ports import Port, preferred
from modelyard.local.programs import HOST, etcd_command, redis_command
from modelyard.local.settings import Asked, Settings
from modelyard.local.state import Layout
from modelyard.local.supervised import Program
from modelyard.session import LEAST_TTL_S, TTL_S

SERVICE_GRACE_S = 15.0
FRONT_DOOR, SCHEDULER_METRICS = 8001, 8002


@dataclass(frozen=True)
class UpOptions:
    """What `up` is asked for.

    Attributes:
        directory: where all state is kept.
        workers: how many workers to run.
        port: the front door's port; 0: any free one.
        detach: whether to return once the suite is ready, and leave it running.
        capacity: what each worker announces, as `cpu=8,memory=32GiB`; empty: what it finds.
        processes: how many front-door processes share the port.
        allow_code: whether workers run the code of users who train.
        lease_s: so long what a service has announced stays when it is silent.
        asked: what registry and scheduler are told; what is left open is as before.
    """

    directory: Path
    workers: int = 1
    port: int = FRONT_DOOR
    detach: bool = False
    capacity: str = ""
    processes: int = 1
    asked: Asked = field(default_factory=Asked)
    allow_code: bool = True
    lease_s: int = TTL_S

    def check(self) -> None:
        """Raise InvalidInputError if a number is out of its range."""
        for name, value, least, most in (
            ("workers", self.workers, 0, 256),
            ("port", self.port, 0, 65535),
            ("processes", self.processes, 1, 64),
            ("lease_s", self.lease_s, LEAST_TTL_S, 3600),
        ):
            if not least <= value <= most:
                raise InvalidInputError(f"{name}: expected {least} to {most}, got {value}")
        self.asked.check()


class Ports:
    """The ports that a suite holds while it runs: a server that is started again finds its own."""

    def __init__(self, front_door: int, workers: int) -> None:
        """Take them; raise PreconditionError if the front door's is not free.

        Beside a front door on 8001 the scheduler's metrics are on 8002, if that is free.
        """
        self.front_door = Port(front_door)
        self.etcd, self.etcd_peer, self.redis = Port(), Port(), Port()
        scheduler = preferred(SCHEDULER_METRICS) if front_door == FRONT_DOOR else Port()
        self.metrics = {"scheduler-0": scheduler, "registry-0": Port()}
        self.metrics |= {f"worker-{index}": Port() for index in range(workers)}

    def release(self) -> None:
        """Let others have them."""
        for port in (self.front_door, self.etcd, self.etcd_peer, self.redis, *self.metrics.values()):
            port.release()


def programs(options: UpOptions, settings: Settings, layout: Layout, ports: Ports) -> list[Program]:
    """Return all programs of the suite.

    Raises:
        PreconditionError: a program or a service of ours is not installed.
    """
    etcd, redis = ports.etcd, ports.redis
    services = {
        "registry-0": {
            "store": settings.store or str(layout.store),
            "allow-unsafe": str(settings.allow_unsafe).lower(),
            "port": "0",
            "metrics-dir": str(layout.metrics),
            **_times(settings),
        },
        "scheduler-0": {
            "redis": redis.address,
            "port": str(ports.front_door.number),
            "control-port": "0",
            "metrics-dir": str(layout.metrics),
            "processes": str(options.processes),
            "dataset-urls": settings.dataset_urls,
        },
    }
    for index in range(options.workers):
        name = f"worker-{index}"
        services[name] = {
            "data-dir": str(layout.worker(name)),
            "redis": redis.address,
            "port": "0",
            "capacity": options.capacity,
            "allow-code": str(options.allow_code).lower(),
        }
    for name, flags in services.items():
        flags |= {"etcd": etcd.address, "metrics-port": str(ports.metrics[name].number)}
    return [
        Program(
            "etcd",
            etcd_command(layout.etcd, etcd.number, ports.etcd_peer.number),
            layout.log("etcd"),
            etcd.address,
            partial(health.etcd_answers, etcd.address),
        ),
        Program(
            "redis",
            redis_command(layout.redis, redis.number),
            layout.log("redis"),
            redis.address,
            partial(health.redis_answers, redis.address),
        ),
        *(_service(name, {**flags, "lease-s": str(options.lease_s)}, layout) for name, flags in services.items()),
    ]


def _times(settings: Settings) -> dict[str, str]:
    times = {"grace-s": settings.grace_s, "collect-every-s": settings.collect_every_s}
    return {flag: str(seconds) for flag, seconds in times.items() if seconds is not None}


def _service(name: str, flags: dict[str, str], layout: Layout) -> Program:
    module = f"modelyard_{role(name)}"
    if find_spec(module) is None:
        raise PreconditionError(f"{module} is not installed: install the distribution {module.replace('_', '-')}")
    arguments = [f"--{flag}={value}" for flag, value in {"id": name, "host": HOST, **flags}.items()]
    command = [sys.executable, "-P", "-m", module, *arguments]
    return Program(name, command, layout.log(name), grace_s=SERVICE_GRACE_S)


def environment(workers: int, environ: Mapping[str, str]) -> dict[str, str]:
    """Return what the programs get: not our settings, and where several workers share the machine, their part of it.

    Ranks of a training that each had a thread for every core would mostly wait for each other.
    """
    found = without_settings(environ)
    if workers > 1:
        found.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))
    return found


def role(name: str) -> str:
    """Return what the process of that name is: `worker` for `worker-0`."""
    return name.partition("-")[0]


STOP_ORDER = ("scheduler", "worker", "registry", "redis", "etcd")
