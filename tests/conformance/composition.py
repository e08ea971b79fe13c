"""compose.yaml without a container engine: every service as a local process, with exactly its command and environment.

What an engine would provide is played like this: each service has a loopback address of its own, so that ports stay as
they are written; its name, 0.0.0.0 and 127.0.0.1 are that address. A named volume is a folder, and any other folder of
a container is one that `down` removes. Images of ours are played by their Dockerfile's last stage and this
environment's Python; those of etcd and Redis by the programs that `modelyard up` would start.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from graphlib import TopologicalSorter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from modelyard.local.programs import ETCD, REDIS, Source, bound, find_program
from modelyard.process import PARENT
from tests.conformance.dockerfile import BASE_PATH, Stage, read
from tests.waiting import wait_until

HEALTH_TIMEOUT_S = 60.0
GRACE_S = 30.0


@dataclass(frozen=True)
class Service:
    """A service of compose.yaml, and the last stage of its Dockerfile if the image is ours."""

    name: str
    spec: dict[str, Any]
    stage: Stage | None

    @property
    def command(self) -> list[str]:
        """What the container runs."""
        return list(self.spec.get("command") or (self.stage.command if self.stage else []))

    @property
    def environment(self) -> dict[str, str]:
        """What the container's process finds in its environment."""
        of_image = self.stage.environment if self.stage else {"PATH": BASE_PATH}
        return {**of_image, **self.spec.get("environment", {})}

    @property
    def volumes(self) -> dict[str, str]:
        """The named volume at each path."""
        return {path: name for name, path in (text.split(":") for text in self.spec.get("volumes", []))}

    @property
    def health(self) -> list[str]:
        """The command of its health check."""
        kind, *words = self.spec["healthcheck"]["test"]
        return words if kind == "CMD" else ["/bin/sh", "-c", *words]

    @property
    def published(self) -> dict[int, int]:
        """The container's port behind each published port of the host."""
        pairs = (text.rsplit(":", 2)[-2:] for text in self.spec.get("ports", []))
        return {int(outside): int(inside) for outside, inside in pairs}


def load(path: Path) -> dict[str, Service]:
    """Read the services of a compose file."""
    found = {}
    for name, spec in yaml.safe_load(path.read_text())["services"].items():
        stage = read(path.parent / spec["build"]["dockerfile"])[-1] if "build" in spec else None
        found[name] = Service(name, spec, stage)
    return found


class Container:
    """One service as a process."""

    def __init__(self, service: Service, addresses: dict[str, str], programs: Path, directory: Path) -> None:
        """`addresses`: of all services; `programs`: a folder with etcd and Redis; `directory`: of the composition."""
        self.service = service
        self.address = addresses[service.name]
        self._addresses = addresses
        self._directory = directory
        self._root = directory / "containers" / service.name
        self._log = directory / f"{service.name}.log"
        self._paths = {path: directory / "volumes" / name for path, name in service.volumes.items()}
        self._paths |= {"/usr/local/bin": programs, "/opt/venv/bin": Path(sys.executable).parent}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def _environment(self) -> dict[str, str]:
        played = {name: self._play(value) for name, value in self.service.environment.items()}
        if "MODELYARD_ADVERTISE" in played:
            played["MODELYARD_ADVERTISE"] = self._addresses[self.service.environment["MODELYARD_ADVERTISE"]]
        return played

    @property
    def _workdir(self) -> Path:
        path = self.service.stage.workdir if self.service.stage else "/"
        folder = self._paths.get(path, self._root / path.lstrip("/"))
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _play(self, text: str) -> str:
        for path, folder in self._paths.items():
            text = re.sub(rf"(?<![\w/]){re.escape(path)}(?![\w-])", str(folder), text)
        names = "|".join(map(re.escape, self._addresses))
        text = re.sub(rf"(?<![\w.-])({names})(?=:\d)", lambda match: self._addresses[match[1]], text)
        return re.sub(r"\b(0\.0\.0\.0|127\.0\.0\.1)\b", self.address, text)

    def start(self) -> None:
        """Start the process; it dies with this one."""
        for folder in self._paths.values():
            folder.mkdir(parents=True, exist_ok=True)
        command = bound([self._play(word) for word in self.service.command])
        environ = {**self._environment, PARENT: str(os.getpid())}  # modelyard.bound takes it out again
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(command, env=environ, cwd=self._workdir, stdout=output, stderr=output)

    def check_health(self) -> subprocess.CompletedProcess[str]:
        """Run the health check as an engine would."""
        command = [self._play(word) for word in self.service.health]
        command[0] = shutil.which(command[0], path=self._environment["PATH"]) or command[0]
        return subprocess.run(
            command, env=self._environment, cwd=self._workdir, capture_output=True, text=True, check=False
        )

    def healthy(self) -> bool:
        """Whether the health check succeeds; a process that has ended fails the test."""
        assert self._process is not None
        assert self._process.poll() is None, f"{self.service.name} ended: {self._log.read_text()[-4000:]}"
        return self.check_health().returncode == 0

    def stop(self) -> int:
        """SIGTERM, then SIGKILL after the grace period; return the exit status."""
        if self._process is None:
            return 0
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
        finally:
            self._process = None


class Composition:
    """All services of a compose file."""

    def __init__(self, path: Path, directory: Path) -> None:
        """`directory`: an empty folder for volumes, containers and logs."""
        services = load(path)
        net = f"127.{16 + os.getpid() // 250 % 200}.{os.getpid() % 250}"
        addresses = {name: f"{net}.{number}" for number, name in enumerate(services, 1)}
        programs = link_programs(directory / "programs")
        self.containers = {
            name: Container(service, addresses, programs, directory) for name, service in services.items()
        }
        self.volumes = directory / "volumes"
        self._root = directory / "containers"

    def up(self) -> None:
        """Start every service once those that it depends on are healthy, and wait until all are."""
        needs = {name: c.service.spec.get("depends_on", {}) for name, c in self.containers.items()}
        for name in TopologicalSorter(needs).static_order():
            for needed, how in needs[name].items():
                assert how == {"condition": "service_healthy"}
                wait_until(partial(self.containers[needed].healthy), HEALTH_TIMEOUT_S)
            self.containers[name].start()
        for container in self.containers.values():
            wait_until(partial(container.healthy), HEALTH_TIMEOUT_S)

    def down(self) -> dict[str, int]:
        """Stop every service, those that others need last, and remove what is in no volume; return exit statuses."""
        statuses = {name: container.stop() for name, container in reversed(self.containers.items())}
        shutil.rmtree(self._root, ignore_errors=True)
        return statuses

    def published(self, port: int) -> str:
        """The address behind a port that the host publishes."""
        return next(
            f"{container.address}:{container.service.published[port]}"
            for container in self.containers.values()
            if port in container.service.published
        )


def link_programs(folder: Path) -> Path:
    """Make a folder with etcd and Redis and their command-line clients; return it."""
    folder.mkdir()
    for source, companion in ((ETCD, "etcdctl"), (REDIS, "redis-cli")):
        program = Path(find_program(source))
        (folder / program.name).symlink_to(program)
        (folder / companion).symlink_to(find_companion(program, companion, source))
    return folder


def find_companion(program: Path, name: str, source: Source) -> Path:
    """Return a program that comes with another: beside it, on PATH, or in the wheel."""
    wheel = find_spec(source.module)
    folders = wheel.submodule_search_locations if wheel else None
    packaged = [(Path(folder) / source.file).with_name(name) for folder in folders or []]
    return next(path for path in (program.with_name(name), Path(shutil.which(name) or ""), *packaged) if path.is_file())
