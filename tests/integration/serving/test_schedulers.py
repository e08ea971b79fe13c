"""Two schedulers: both serve, one leads; when it dies or is deposed the other leads."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest

from modelyard import codec, keys, process
from modelyard.aio import Client
from modelyard.deployment import Member, Placement
from modelyard.etcd import Etcd
from tests import models
from tests.integration.serving.traffic import Traffic
from tests.suites import RunningSuite
from tests.waiting import eventually

X = {"x": np.zeros((1, 64), np.float32)}


class Scheduler:
    """A second scheduler beside those of a suite; it dies with the test run."""

    def __init__(self, suite: RunningSuite, log: Path) -> None:
        read_fd, write_fd = os.pipe()
        flags = {"id": "scheduler-1", "port": 0, "control-port": 0, "metrics-port": 0, "lease-s": 5}
        flags |= {name: suite.process(name).address for name in ("etcd", "redis")}
        with log.open("wb") as output, os.fdopen(read_fd) as reports:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "modelyard_scheduler", *(f"--{k}={v}" for k, v in flags.items())],
                env={**os.environ, process.PARENT: str(os.getpid()), process.REPORT: str(write_fd)},
                pass_fds=[write_fd],
                stdout=output,
                stderr=output,
            )
            os.close(write_fd)
            report = json.loads(reports.readline() or "{}")
        assert report.get("state") == "ready", log.read_text()
        self.address = report["address"]
        self.log = log

    def end(self, number: signal.Signals) -> int:
        """Send a signal, wait for the end; return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(60)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSuite]:
    suite = RunningSuite(tmp_path_factory.mktemp("schedulers"), workers=2)
    yield suite
    suite.down()


@pytest.fixture
def second(served: RunningSuite, tmp_path: Path) -> Iterator[Scheduler]:
    one = Scheduler(served, tmp_path / "scheduler-1.log")
    yield one
    if one.process.poll() is None:
        one.end(signal.SIGTERM)


@pytest.fixture
async def etcd(served: RunningSuite) -> AsyncIterator[Etcd]:
    opened = Etcd(served.process("etcd").address)
    yield opened
    await opened.close()


async def leader(etcd: Etcd) -> tuple[str, int]:
    """Who leads, and since which revision."""

    async def found() -> tuple[str, int] | None:
        key = await etcd.get(keys.LEADER)
        return (codec.decode(Member, key.value).id, key.create_revision) if key else None

    return await eventually(found) or ("", 0)


async def depose(etcd: Etcd) -> None:
    """End the leader's lease."""
    key = await etcd.get(keys.LEADER)
    assert key is not None
    await etcd.revoke(key.lease_id)


async def epochs(etcd: Etcd) -> set[int]:
    return {codec.decode(Placement, kv.value).epoch for kv in (await etcd.list(keys.PLACEMENTS)).items.values()}


async def test_both_serve_and_the_other_leads_when_the_leader_is_deposed(
    served: RunningSuite, second: Scheduler, etcd: Etcd, tmp_path: Path
) -> None:
    async with Client(served.address) as one, Client(second.address) as two:
        await one.push("mlp", models.save(models.mlp(), tmp_path / "mlp.onnx"))
        await two.deploy("mlp", replicas=2, timeout_s=60)
        assert (await one.infer("mlp", X))["y"].shape == (1, 10)
        assert len((await one.endpoints()).schedulers) == 2
        name, first_epoch = await leader(etcd)
        assert name == "scheduler-0"
        assert await epochs(etcd) == {first_epoch}

        await depose(etcd)
        await eventually(lambda: _leads(etcd, "scheduler-1"))
        _, second_epoch = await leader(etcd)
        assert second_epoch > first_epoch
        assert await epochs(etcd) == {first_epoch}  # nothing was placed anew
        await one.deploy("mlp", replicas=1)
        await one.deploy("mlp", replicas=2, timeout_s=60)
        assert await epochs(etcd) == {first_epoch, second_epoch}


async def _leads(etcd: Etcd, name: str) -> bool:
    return (await leader(etcd))[0] == name


async def test_the_leader_is_killed(served: RunningSuite, second: Scheduler, etcd: Etcd, tmp_path: Path) -> None:
    if not await _leads(etcd, "scheduler-1"):
        await depose(etcd)
        await eventually(lambda: _leads(etcd, "scheduler-1"))
    async with Client(served.address) as client:
        await client.push("small", models.save(models.mlp((64, 10)), tmp_path / "small.onnx"))
        await client.deploy("small", timeout_s=60)
        async with Traffic(served.address, clients=2, model="small") as traffic:
            second.end(signal.SIGKILL)
            await traffic.until(lambda: _leads(etcd, "scheduler-0"))
            await client.deploy("small", replicas=2, timeout_s=60)
            await traffic.answered_by("worker-0", "worker-1")
        assert traffic.failures == {}


async def test_a_leader_that_stops_in_order_hands_over_at_once(
    served: RunningSuite, second: Scheduler, etcd: Etcd
) -> None:
    assert await _leads(etcd, "scheduler-0") or await _leads(etcd, "scheduler-1")
    if not await _leads(etcd, "scheduler-1"):
        await depose(etcd)
        await eventually(lambda: _leads(etcd, "scheduler-1"))
    assert second.end(signal.SIGTERM) == 0
    key = await etcd.get(keys.LEADER)
    assert key is None or codec.decode(Member, key.value).id == "scheduler-0"
    assert list((await etcd.list(keys.members("scheduler"))).items) == [keys.member("scheduler", "scheduler-0")]
    await eventually(lambda: _leads(etcd, "scheduler-0"))
