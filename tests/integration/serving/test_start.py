"""Services by themselves: what they wait for, what they say, and how they end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modelyard import codec, keys
from modelyard.catalogue import Resources
from modelyard.deployment import Placement
from modelyard.etcd import Etcd
from modelyard.etcd.messages import Change
from modelyard.local.ports import Port
from modelyard.process import PARENT
from tests import models
from tests.servers import ProgramServer, new_etcd
from tests.waiting import wait_until

Start = Callable[..., "Service"]


class Service:
    """A service of ours as a process; it dies with the test run."""

    def __init__(self, module: str, log: Path, *flags: str) -> None:
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, *flags],
                env={**os.environ, PARENT: str(os.getpid())},
                stdout=output,
                stderr=output,
            )

    def says(self, event: str) -> dict[str, Any]:
        """Wait until it logs an event; return the record."""
        return wait_until(lambda: next((r for r in self._records() if r.get("event") == event), None)) or {}

    def _records(self) -> list[dict[str, Any]]:
        lines = self.log.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def ends(self) -> int:
        return self.process.wait(30)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Service] = []

    def run(module: str, *flags: str) -> Service:
        started.append(Service(module, tmp_path / f"{len(started)}.log", *flags))
        return started[-1]

    yield run
    for service in started:
        service.process.kill()
        service.process.wait(30)


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address where nothing listens."""
    port = Port()
    yield port.address
    port.release()


def worker_flags(etcd: str, directory: Path) -> list[str]:
    return [f"--etcd={etcd}", "--port=0", "--metrics-port=0", f"--data-dir={directory}"]


def scheduler_flags(etcd: str, redis: str) -> list[str]:
    return [f"--etcd={etcd}", f"--redis={redis}", "--port=0", "--metrics-port=0", "--control-port=0"]


def test_a_worker_waits_for_etcd_and_says_so_and_can_be_stopped(start: Start, nobody: str, tmp_path: Path) -> None:
    service = start("modelyard_worker", *worker_flags(nobody, tmp_path / "data"))
    assert service.says("waiting for etcd")["endpoints"] == nobody
    service.process.send_signal(signal.SIGTERM)
    assert service.ends() == 0


def test_a_worker_starts_when_etcd_comes(start: Start, tmp_path: Path) -> None:
    etcd = new_etcd(tmp_path / "etcd")
    service = start("modelyard_worker", *worker_flags(etcd.endpoint, tmp_path / "data"))
    service.says("waiting for etcd")
    etcd.start()
    wait_until((tmp_path / "data/lease").exists)
    service.process.send_signal(signal.SIGTERM)
    assert service.ends() == 0
    etcd.close()


def test_a_worker_ends_in_order_also_while_etcd_is_away(start: Start, tmp_path: Path) -> None:
    etcd = new_etcd(tmp_path / "etcd")
    etcd.start()
    service = start("modelyard_worker", *worker_flags(etcd.endpoint, tmp_path / "data"))
    wait_until((tmp_path / "data/lease").exists)
    etcd.kill()
    service.process.send_signal(signal.SIGTERM)
    assert service.ends() == 0
    etcd.close()


async def test_a_workers_name_is_free_when_all_it_announced_is_withdrawn(
    start: Start, etcd_server: ProgramServer, etcd: Etcd, tmp_path: Path
) -> None:
    place = tmp_path / "data/artifacts" / ("d" * 64)
    place.mkdir(parents=True)
    models.save(models.mlp((4, 2)), place / "model.onnx")
    placement = Placement("m", "1", "w0", "d" * 64, "onnx", Resources(), 1)
    await etcd.put(keys.placement("w0", "m", "1"), codec.encode(placement))
    service = start("modelyard_worker", "--id=w0", *worker_flags(etcd_server.endpoint, tmp_path / "data"))
    service.says("instance ready")
    gone: list[str] = []
    async with contextlib.aclosing(etcd.follow("/")) as stream, asyncio.timeout(60):
        await anext(stream)
        service.process.send_signal(signal.SIGTERM)
        while keys.worker("w0") not in gone:
            event = await anext(stream)
            if isinstance(event, Change) and event.value is None:
                gone.append(event.key)
    assert keys.instance("w0", "m", "1") in gone
    assert service.ends() == 0


def test_a_scheduler_waits_for_etcd_then_for_redis(start: Start, nobody: str, etcd_server: ProgramServer) -> None:
    waits = start("modelyard_scheduler", *scheduler_flags(nobody, nobody))
    assert waits.says("waiting for etcd")["endpoints"] == nobody
    without = start("modelyard_scheduler", *scheduler_flags(etcd_server.endpoint, nobody))
    assert nobody in json.dumps(without.says("waiting for redis"))
    for service in (waits, without):
        service.process.send_signal(signal.SIGTERM)
        assert service.ends() == 0


def test_a_front_door_waits_for_etcd_and_can_be_stopped(start: Start, nobody: str) -> None:
    service = start("modelyard_scheduler.frontdoor", "--name=f", "--address=127.0.0.1:0", f"--etcd={nobody}")
    service.says("waiting for etcd")
    service.process.send_signal(signal.SIGTERM)
    assert service.ends() == 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--capacity=cpu=lots"], "error: capacity: expected a positive number of cores, got 'lots'"),
        (["--capacity=disk=1"], "error: capacity: expected cpu, memory and gpu, got disk"),
        (["--labels=zone"], "error: expected key=value, got 'zone'"),
    ],
)
def test_what_a_worker_does_not_understand_is_one_line(
    flags: list[str], message: str, start: Start, nobody: str, tmp_path: Path
) -> None:
    service = start("modelyard_worker", *worker_flags(nobody, tmp_path / "data"), *flags)
    assert service.ends() == 1
    assert service.log.read_text().strip() == message


def test_two_workers_in_one_directory(start: Start, nobody: str, tmp_path: Path) -> None:
    first = start("modelyard_worker", *worker_flags(nobody, tmp_path / "data"))
    first.says("waiting for etcd")
    second = start("modelyard_worker", *worker_flags(nobody, tmp_path / "data"))
    assert second.ends() == 1
    assert second.log.read_text().strip() == f"error: data directory {tmp_path / 'data'}: another worker holds it"


def test_a_port_that_is_taken_is_one_line(
    start: Start, tmp_path: Path, etcd_server: ProgramServer, redis_server: ProgramServer
) -> None:
    taken = etcd_server.endpoint.rpartition(":")[2]
    flags = worker_flags(etcd_server.endpoint, tmp_path / "data")
    worker = start("modelyard_worker", *flags, f"--port={taken}", "--id=w-taken")
    assert worker.ends() == 1
    assert f"error: cannot listen on 127.0.0.1:{taken}" in worker.log.read_text()
    flags = scheduler_flags(etcd_server.endpoint, redis_server.endpoint)
    scheduler = start("modelyard_scheduler", *flags, f"--port={taken}")
    assert scheduler.ends() == 1
    assert f"error: cannot serve on 127.0.0.1:{taken}: Address already in use" in scheduler.log.read_text()
