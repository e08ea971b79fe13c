"""What a job wants loaded, on a real suite: it is there for the job, and calls reach it only if a user deploys it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection

import pytest

from modelyard import codec, keys
from modelyard.aio import Client
from modelyard.catalogue import Version
from modelyard.errors import PreconditionError
from modelyard.etcd import Etcd
from modelyard_scheduler.jobs.demand import wish
from tests import models
from tests.integration.serving.conftest import TIMEOUT_S, Workbench
from tests.integration.serving.traffic import ROWS
from tests.suites import RunningSuite
from tests.waiting import eventually


@pytest.fixture
async def suite_etcd(running_suite: RunningSuite) -> AsyncIterator[Etcd]:
    """The suite's own etcd."""
    opened = Etcd(running_suite.process("etcd").address)
    yield opened
    await opened.close()


@contextlib.asynccontextmanager
async def wished(etcd: Etcd, model: str, version: str) -> AsyncIterator[None]:
    """As the leader: have a version loaded on two workers for a job, until the scope ends."""
    published = await etcd.get(keys.version(model, version))
    assert published is not None
    wanted = wish(codec.decode(Version, published.value), "acme", 2, time.time())
    key = keys.job(model, version, "job-of-a-test")
    await etcd.put(key, codec.encode(wanted))
    try:
        yield
    finally:
        await etcd.delete(key)


async def test_a_version_is_loaded_for_a_job_and_answers_calls_only_while_a_user_has_deployed_it(
    suite_etcd: Etcd, client: Client, bench: Workbench
) -> None:
    version = await bench.push("wished", models.mlp())

    async def pulling() -> set[str]:
        return {line for line in await client.explain("wished") if line.endswith(": READY: it pulls tasks")}

    async def loaded() -> list[str]:
        return [key for key in await suite_etcd.keys(keys.INSTANCES) if "wished@" in key]

    async def refused() -> None:
        with pytest.raises(PreconditionError, match="not deployed"):
            await client.infer("wished", {"x": ROWS})

    async with wished(suite_etcd, "wished", version):
        await eventually(lambda: _are(pulling, 2), TIMEOUT_S)
        await refused()
        assert not [d for d in await client.deployments() if d.model == "wished"]
        with pytest.raises(PreconditionError, match="jobs use it: job-of-a-test"):
            await client.delete_model("wished", purge=True)
        await client.deploy("wished", timeout_s=TIMEOUT_S)
        assert (await client.infer("wished", {"x": ROWS}))["y"].shape == (2, 10)
        assert len(await pulling()) == 1, "the other one is its user's"
        await client.undeploy("wished")
        await eventually(lambda: _are(pulling, 2), TIMEOUT_S)
        await refused()
    await eventually(lambda: _are(loaded, 0), TIMEOUT_S)


async def _are(found: Callable[[], Awaitable[Collection[str]]], count: int) -> bool:
    return len(await found()) == count
