"""The pages of a suite with two front doors: what clients saw is what is counted, whoever was killed meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest

from modelyard import Client as SyncClient
from modelyard.aio import Client
from modelyard.errors import InvalidInputError, NotFoundError, PreconditionError
from modelyard.metrics import Family, families
from modelyard.metrics.families import families_of
from tests import models
from tests.integration.serving.traffic import MODEL, ROWS, Traffic, arguments, runners
from tests.pages import Values, on_page, scrape
from tests.suites import RunningSuite
from tests.waiting import eventually

LABELS = (MODEL, "1")
ANSWERED = (*LABELS, "OK")


class Pages:
    """The pages of a suite with one scheduler and one worker."""

    def __init__(self, suite: RunningSuite) -> None:
        self.suite = suite

    async def of(self, service: str) -> str:
        """Scrape a service."""
        return await scrape(self.suite.process(f"{service}-0").metrics)

    async def values(self, family: Family) -> Values:
        """The values of a family that one service exports."""
        (service,) = family.services
        return on_page(await self.of(service), family)

    async def value(self, family: Family, *labels: str) -> float:
        """One value; 0 if it is not there."""
        return (await self.values(family)).get(labels, 0)

    async def becomes(self, value: float, family: Family, *labels: str) -> None:
        """Wait until a value is as said."""

        async def is_so() -> bool:
            return await self.value(family, *labels) == value

        await eventually(is_so, 60)

    async def exceeds(self, bound: float, family: Family, *labels: str) -> None:
        """Wait until a value, which is looked at once in a while, is above a bound."""

        async def is_so() -> bool:
            return await self.value(family, *labels) > bound

        await eventually(is_so, 60)

    def front_doors(self) -> list[int]:
        """The pids of the front doors."""
        return [p.pid for p in self.suite.tree() if "modelyard_scheduler.frontdoor" in arguments(p)]


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSuite]:
    made = RunningSuite(tmp_path_factory.mktemp("metrics"), processes=2)
    with SyncClient(made.address, timeout_s=120) as client:
        client.push(MODEL, models.save(models.mlp(), tmp_path_factory.mktemp("models") / "mlp.onnx"))
        client.deploy(MODEL, timeout_s=120)
    yield made
    made.down()


@pytest.fixture
def pages(suite: RunningSuite) -> Pages:
    return Pages(suite)


@pytest.fixture
async def client(suite: RunningSuite) -> AsyncIterator[Client]:
    async with Client(suite.address, timeout_s=120) as opened:
        yield opened


@pytest.mark.parametrize("service", ["scheduler", "worker", "registry"])
async def test_what_is_exported_is_what_is_documented(pages: Pages, service: str) -> None:
    page = await pages.of(service)
    exported = [line.split()[2] for line in page.splitlines() if line.startswith("# TYPE")]
    assert exported == [family.name for family in families_of(service)]


async def test_calls_add_up_over_two_front_doors(suite: RunningSuite, pages: Pages) -> None:
    await pages.becomes(2, families.FRONT_DOORS)
    before = await pages.value(families.REQUESTS, *ANSWERED)
    executed = await pages.value(families.QUEUE, *LABELS)
    async with Traffic(suite.address, clients=16) as traffic:
        await traffic.more(400)
    answered = traffic.statuses["OK"]
    await pages.becomes(before + answered, families.REQUESTS, *ANSWERED)
    await pages.becomes(executed + answered, families.QUEUE, *LABELS)
    await pages.becomes(0, families.OUTSTANDING, *LABELS)
    assert await pages.value(families.REQUEST, *LABELS) >= answered
    assert await pages.value(families.INFER, *LABELS) > 0
    await pages.exceeds(1 << 20, families.INSTANCE_MEMORY, *LABELS)


async def test_counters_never_go_down_when_front_doors_are_killed(suite: RunningSuite, pages: Pages) -> None:
    """Each is killed in its turn, so that whatever one of them had counted has to outlive it."""
    seen = [await pages.value(families.REQUESTS, *ANSWERED)]
    first, answered = seen[0], 0
    for victim in pages.front_doors():
        async with Traffic(suite.address, clients=8) as traffic:
            await traffic.more(100)
            os.kill(victim, signal.SIGKILL)
            await traffic.more(100)
            seen.append(await pages.value(families.REQUESTS, *ANSWERED))
        answered += traffic.statuses["OK"]
        await eventually(lambda: len(set(pages.front_doors()) - {victim}) == 2, 60)  # noqa: B023
        await pages.becomes(2, families.FRONT_DOORS)
        seen.append(await pages.value(families.REQUESTS, *ANSWERED))
    assert seen == sorted(seen)
    assert first + answered <= seen[-1] <= first + answered + 16, "calls whose answers were lost are counted too"


async def test_failures_are_counted_by_status(client: Client, pages: Pages) -> None:
    await client.push("never-deployed", models.save(models.mlp(), client_directory(pages) / "mlp.onnx"))
    before = await pages.values(families.REQUESTS)
    with pytest.raises(InvalidInputError):
        await client.infer(MODEL, {"x": np.zeros((1, 3), np.float32)})
    for _ in range(2):
        with pytest.raises(NotFoundError):
            await client.infer("no-such-model", {"x": ROWS})
    with pytest.raises(PreconditionError):
        await client.infer("never-deployed", {"x": ROWS})

    async def counted() -> bool:
        now = await pages.values(families.REQUESTS)
        more = {labels: value - before.get(labels, 0) for labels, value in now.items()}
        return {labels: value for labels, value in more.items() if value} == {
            (*LABELS, "INVALID_ARGUMENT"): 1,
            ("", "", "NOT_FOUND"): 2,
            ("", "", "FAILED_PRECONDITION"): 1,
        }

    await eventually(counted)


def client_directory(pages: Pages) -> Path:
    """Where tests of this suite may put files."""
    return pages.suite.directory


async def test_replicas_loads_and_failures_follow_what_happens(suite: RunningSuite, pages: Pages) -> None:
    await pages.becomes(1, families.WANTED, *LABELS)
    await pages.becomes(1, families.READY, *LABELS)
    await pages.becomes(1, families.REACHABLE, *LABELS)
    loads = await pages.value(families.LOADS, *LABELS, "ready")
    failures = await pages.value(families.RUNNER_FAILURES, *LABELS)
    executed = await pages.value(families.QUEUE, *LABELS)
    (runner,) = runners(suite, f"{MODEL}@1").values()
    os.kill(runner.pid, signal.SIGKILL)
    await pages.becomes(loads + 1, families.LOADS, *LABELS, "ready")
    await pages.becomes(failures + 1, families.RUNNER_FAILURES, *LABELS)
    await pages.becomes(1, families.READY, *LABELS)
    assert await pages.value(families.LOAD, *LABELS) == loads + 1
    assert await pages.value(families.QUEUE, *LABELS) == executed, "what the dead runner had counted stays"


async def test_an_undeployed_model_is_wanted_no_more(client: Client, pages: Pages) -> None:
    await client.push("passing", models.save(models.mlp(), client_directory(pages) / "mlp.onnx"))
    reserved = await pages.value(families.RESERVED)
    await client.deploy("passing", timeout_s=120)
    await pages.becomes(1, families.READY, "passing", "1")
    await pages.exceeds(reserved, families.RESERVED)
    await client.undeploy("passing")
    await pages.becomes(1, families.UNLOADS, "passing", "1")
    await eventually(lambda: _is_gone(pages))
    await pages.becomes(reserved, families.RESERVED)


async def _is_gone(pages: Pages) -> bool:
    gone = (families.WANTED, families.READY, families.REACHABLE, families.QUEUED, families.INSTANCE_MEMORY)
    found = await asyncio.gather(*(pages.values(family) for family in gone))
    return all(("passing", "1") not in values for values in found)


async def test_a_registry_counts_what_comes_and_goes(client: Client, pages: Pages) -> None:
    before = await pages.value(families.RECEIVED), await pages.value(families.SENT)
    versions = sum([len(await client.versions(model.name)) for model in await client.models()])
    await pages.becomes(versions, families.VERSIONS)  # it is looked at once in a while
    path = models.save(models.mlp(seed=77), client_directory(pages) / "mlp.onnx")
    await client.push("counted", path)
    await client.pull("counted", client_directory(pages) / "pulled")
    size_bytes = path.stat().st_size
    await pages.becomes(versions + 1, families.VERSIONS)
    await pages.exceeds(before[0] + size_bytes - 1, families.RECEIVED)
    await pages.exceeds(before[1] + size_bytes - 1, families.SENT)
