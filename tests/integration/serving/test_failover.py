"""Workers, runners and schedulers die while requests flow: what clients that never retry see of it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator

import numpy as np
import pytest

from modelyard import Client as SyncClient
from modelyard.aio import Client
from modelyard.errors import ModelExecutionError
from modelyard.results import DeploymentStatus
from tests import models
from tests.integration.serving.traffic import MODEL, ROWS, Traffic, arguments, runners
from tests.suites import RunningSuite
from tests.waiting import eventually

BOTH = ("worker-0", "worker-1")
POISON = "poison"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSuite]:
    """A suite that serves two models on both of its workers."""
    suite = RunningSuite(tmp_path_factory.mktemp("failover"), workers=2)
    directory = tmp_path_factory.mktemp("models")
    with SyncClient(suite.address, timeout_s=120) as client:
        for name, model in ((MODEL, models.mlp()), (POISON, models.crash_on_input())):
            client.push(name, models.save(model, directory / f"{name}.onnx"))
            client.deploy(name, replicas=2, timeout_s=120)
    yield suite
    suite.down()


@pytest.fixture
async def client(served: RunningSuite) -> AsyncIterator[Client]:
    """A client of the suite, once everything in it is well."""
    async with Client(served.address, timeout_s=120) as opened:
        await eventually(lambda: _well(opened), 60)
        yield opened


async def _well(client: Client) -> bool:
    found = {d.model: d for d in await client.deployments()}
    return len(await client.workers()) == 2 and all(_ready_on_both(found[m]) for m in (MODEL, POISON))


def _ready_on_both(status: DeploymentStatus) -> bool:
    return [(i.worker, i.state) for i in status.instances] == [(w, "READY") for w in BOTH]


@pytest.mark.parametrize("victim", BOTH)
async def test_a_worker_is_killed(victim: str, served: RunningSuite, client: Client) -> None:
    async with Traffic(served.address) as traffic:
        await traffic.answered_by(*BOTH)
        killed = served.kill(victim)
        await traffic.more(200)
        await traffic.until(lambda: served.ready(victim, after=killed))
        await traffic.answered_by(*BOTH)
    assert traffic.failures == {}
    await eventually(lambda: _well(client), 60)


async def test_a_worker_is_stopped_in_order(served: RunningSuite, client: Client) -> None:
    async with Traffic(served.address) as traffic:
        await traffic.answered_by(*BOTH)
        stopped = served.signal("worker-1", signal.SIGTERM)
        await traffic.more(200)
        await traffic.until(lambda: served.ready("worker-1", after=stopped))
        await traffic.answered_by(*BOTH)
    assert traffic.failures == {}
    assert served.process("worker-1").reason == "exit status 0"


async def test_a_runner_is_killed(served: RunningSuite, client: Client) -> None:
    before = runners(served, f"{MODEL}@1")
    async with Traffic(served.address) as traffic:
        await traffic.answered_by(*BOTH)
        before["worker-0"].signal(signal.SIGKILL)
        await traffic.more(200)
        await traffic.until(lambda: runners(served, f"{MODEL}@1").keys() == set(BOTH))
        await traffic.answered_by(*BOTH)
    assert traffic.failures == {}
    after = runners(served, f"{MODEL}@1")
    assert after["worker-0"] != before["worker-0"]
    assert after["worker-1"] == before["worker-1"]


async def test_a_suspended_runner_is_passed_over_then_replaced(served: RunningSuite, client: Client) -> None:
    before = runners(served, f"{MODEL}@1")
    async with Traffic(served.address) as traffic:
        await traffic.answered_by(*BOTH)
        before["worker-0"].signal(signal.SIGSTOP)
        await traffic.more(200)
        await traffic.until(lambda: not before["worker-0"].lives)
        await traffic.answered_by(*BOTH)
    assert traffic.failures == {}
    log = (served.directory / "logs/worker-0.log").read_text()
    assert "the runner ended: it was silent for 5 s and was killed" in log


async def test_a_runner_that_is_killed_while_it_loads_is_started_anew(served: RunningSuite, client: Client) -> None:
    log = served.directory / "logs/worker-0.log"

    def is_killed_early() -> bool:
        """Whether one has been killed while it started; until then whichever is there is killed."""
        if found := runners(served, f"{POISON}@1").get("worker-0"):
            found.signal(signal.SIGKILL)
        return "the runner did not start: killed by SIGKILL" in log.read_text()

    await eventually(is_killed_early, 60)
    await eventually(lambda: _well(client), 60)
    assert "the runner ended: killed by SIGKILL" in log.read_text()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_the_scheduler_goes_away(number: signal.Signals, served: RunningSuite, client: Client) -> None:
    x = {"x": ROWS}
    expected = (await client.infer(MODEL, x))["y"]
    pids = runners(served, f"{MODEL}@1")
    stop = asyncio.Event()

    async def user() -> int:
        calls = 0
        while not stop.is_set():
            assert np.array_equal((await client.infer(MODEL, x))["y"], expected)
            calls += 1
        return calls

    users = [asyncio.ensure_future(user()) for _ in range(4)]
    async with Traffic(served.address) as traffic:
        gone = served.signal("scheduler-0", number)
        await traffic.until(lambda: served.ready("scheduler-0", after=gone))
        await traffic.answered_by(*BOTH)
    stop.set()
    assert all(calls > 0 for calls in await asyncio.gather(*users))
    assert set(traffic.statuses) <= {"OK", "UNAVAILABLE"}, traffic.failures
    assert runners(served, f"{MODEL}@1") == pids


async def test_a_front_door_is_killed_and_the_controller_stays(served: RunningSuite, client: Client) -> None:
    controller = served.pid("scheduler-0")
    (door,) = [p for p in served.tree() if "modelyard_scheduler.frontdoor" in arguments(p)]
    async with Traffic(served.address) as traffic:
        door.signal(signal.SIGKILL)
        await eventually(lambda: not door.lives)
        await traffic.answered_by(*BOTH)
    assert set(traffic.statuses) <= {"OK", "UNAVAILABLE"}, traffic.failures
    assert served.pid("scheduler-0") == controller


async def test_redis_goes_away(served: RunningSuite, client: Client) -> None:
    async with Traffic(served.address) as traffic:
        stopped = served.signal("redis", signal.SIGSTOP)
        await traffic.more(200)
        served.kill("redis")
        await traffic.more(200)
        await traffic.until(lambda: served.ready("redis", after=stopped))
        await traffic.more(50)
    assert traffic.failures == {}


async def test_a_call_that_kills_runners_fails_alone(served: RunningSuite, client: Client) -> None:
    poison, good = {"x": np.array([-1], np.int32)}, {"x": np.array([2, 3], np.int32)}
    before = runners(served, f"{POISON}@1")
    expected = (await client.infer(POISON, good))["y"].tolist()
    async with Traffic(served.address) as traffic:
        calls = [client.infer(POISON, good) for _ in range(40)]
        calls.insert(20, client.infer(POISON, poison))
        answers = await asyncio.gather(*calls, return_exceptions=True)
        await traffic.more(50)
    (failed,) = [a for a in answers if isinstance(a, BaseException)]
    assert isinstance(failed, ModelExecutionError)
    assert failed.message == "model 'poison@1': two runners died while they executed this call"
    assert [a["y"].tolist() for a in answers if not isinstance(a, BaseException)] == [expected] * 40
    assert traffic.failures == {}
    await eventually(lambda: _well(client), 60)
    after = runners(served, f"{POISON}@1")
    assert {w for w in BOTH if after[w] != before[w]} == set(BOTH)
    assert "killed by SIGFPE" in "".join((served.directory / f"logs/{w}.log").read_text() for w in BOTH)
