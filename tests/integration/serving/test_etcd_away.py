"""etcd goes away: serving goes on, and when it is back everything is as it was, the same runners included."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from modelyard import Client as SyncClient
from modelyard import keys
from modelyard.aio import Client
from modelyard.etcd import Etcd
from modelyard.local import kernel
from tests import models
from tests.integration.serving.traffic import MODEL, ROWS, Traffic, runners
from tests.suites import RunningSuite
from tests.waiting import eventually

BOTH = ("worker-0", "worker-1")
SERVICES = ("registry-0", "scheduler-0", *BOTH)
LEASE_S = 6


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSuite]:
    """A suite of two workers that both serve the model."""
    suite = RunningSuite(tmp_path_factory.mktemp("etcd-away"), workers=2, lease_s=LEASE_S)
    with SyncClient(suite.address, timeout_s=120) as client:
        client.push(MODEL, models.save(models.mlp(), tmp_path_factory.mktemp("models") / "mlp.onnx"))
        client.deploy(MODEL, replicas=2, timeout_s=120)
    yield suite
    suite.down()


@pytest.fixture
async def client(served: RunningSuite) -> AsyncIterator[Client]:
    async with Client(served.address, timeout_s=120) as opened:
        yield opened


@pytest.fixture
async def etcd(served: RunningSuite) -> AsyncIterator[Etcd]:
    opened = Etcd(served.process("etcd").address)
    yield opened
    await opened.close()


def snapshot(suite: RunningSuite) -> tuple[list[int], dict[str, kernel.Process]]:
    """The services and runners that live now."""
    return [suite.pid(name) for name in SERVICES], runners(suite, f"{MODEL}@1")


async def leased(etcd: Etcd) -> dict[str, int]:
    """Every key that lives by a lease, with the lease."""
    found: dict[str, int] = {}
    for prefix in (keys.WORKERS, keys.INSTANCES, keys.MEMBERS, keys.LEADER):
        found |= {k: kv.lease_id for k, kv in (await etcd.list(prefix)).items.items()}
    return found


async def decisions(etcd: Etcd) -> dict[str, int]:
    """Every placement and when it was last written."""
    return {k: kv.mod_revision for k, kv in (await etcd.list(keys.PLACEMENTS)).items.items()}


async def test_etcd_is_killed_and_started_again(served: RunningSuite, client: Client, etcd: Etcd) -> None:
    before, names, placed = snapshot(served), set(await leased(etcd)), await decisions(etcd)
    async with Traffic(served.address) as traffic:
        killed = served.kill("etcd")
        await traffic.more(200)
        await traffic.until(lambda: served.ready("etcd", after=killed))
        await traffic.more(200)
    assert traffic.failures == {}

    async def as_before() -> bool:
        return set(await leased(etcd)) == names

    await eventually(as_before, 60)
    assert await decisions(etcd) == placed
    assert snapshot(served) == before
    assert (await client.deploy(MODEL, replicas=2)).ready


async def test_etcd_is_suspended_for_longer_than_the_leases(
    served: RunningSuite, client: Client, etcd: Etcd, tmp_path: Path
) -> None:
    before, old, placed = snapshot(served), await leased(etcd), await decisions(etcd)
    async with Traffic(served.address, clients=2) as traffic:
        served.signal("etcd", signal.SIGSTOP)
        await traffic.until(_leases_have_run_out())
        await traffic.answered_by(*BOTH)
        served.signal("etcd", signal.SIGCONT)

        async def registered_anew() -> bool:
            now = await leased(etcd)
            return now.keys() == old.keys() and not set(now.values()) & set(old.values())

        await traffic.until(registered_anew)
        await traffic.answered_by(*BOTH)
    assert traffic.failures == {}
    assert await decisions(etcd) == placed
    assert snapshot(served) == before
    await client.push("later", models.save(models.mlp((4, 2)), tmp_path / "later.onnx"))
    await client.deploy("later", timeout_s=60)
    assert (await client.infer("later", {"x": np.zeros((1, 4), np.float32)}))["y"].shape == (1, 2)


def _leases_have_run_out() -> Callable[[], bool]:
    """etcd's clock goes on while it is suspended, and nothing renews a lease: here time itself is the condition."""
    ends_s = time.monotonic() + LEASE_S + 2
    return lambda: time.monotonic() > ends_s


async def test_deploying_while_etcd_is_away_waits_for_it(served: RunningSuite, client: Client) -> None:
    served.signal("etcd", signal.SIGSTOP)
    deploying = asyncio.ensure_future(client.deploy(MODEL, replicas=1, timeout_s=60))
    assert (await client.infer(MODEL, {"x": ROWS}))["y"].shape == (2, 10)
    assert not deploying.done()
    served.signal("etcd", signal.SIGCONT)
    assert (await deploying).replicas == 1
    await client.deploy(MODEL, replicas=2)
