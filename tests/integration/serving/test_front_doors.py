"""Two front-door processes on one port: a client cannot tell which of them it has."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from modelyard.aio import Client
from modelyard.errors import ModelExecutionError, PreconditionError
from modelyard.local.kernel import Process
from modelyard.rpc import channel
from tests import models
from tests.integration.serving.traffic import MODEL, ROWS, Traffic, arguments, runners
from tests.suites import RunningSuite
from tests.waiting import eventually

X = {"x": ROWS}
POISON = "poison"


async def test_two_front_doors_on_one_port(
    suite: Callable[..., RunningSuite], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "OPTIONS", [*channel.OPTIONS, ("grpc.use_local_subchannel_pool", 1)])
    running = suite(workers=2, processes=2)
    doors = _doors(running)
    assert len(doors) == 2
    clients = [Client(running.address, timeout_s=60) for _ in range(12)]  # each has a connection of its own
    for client in clients:
        await client.__aenter__()
    await clients[0].push(MODEL, models.save(models.mlp(), tmp_path / "mlp.onnx"))
    await clients[0].deploy(MODEL, wait=False)
    answers = await asyncio.gather(*(c.infer(MODEL, X) for c in clients))  # of none it is "not deployed"
    assert len({a["y"].tobytes() for a in answers}) == 1
    await clients[0].deploy(MODEL, replicas=2, timeout_s=60)
    await _poison_is_refused_by_both(running, clients, tmp_path)
    async with Traffic(running.address) as traffic:
        doors[0].signal(signal.SIGKILL)
        await eventually(lambda: not doors[0].lives)
        await traffic.answered_by("worker-0", "worker-1")
    assert set(traffic.statuses) <= {"OK", "UNAVAILABLE"}, traffic.failures
    assert all(f.startswith("UNAVAILABLE") for f in traffic.failures)
    assert doors[1].lives
    await eventually(lambda: len(_doors(running)) == 2)
    doors[1].signal(signal.SIGSTOP)  # the kernel still gives it connections
    await eventually(lambda: not doors[1].lives)
    await eventually(lambda: len(_doors(running)) == 2)
    await eventually(lambda: _all_are_answered(clients))
    await clients[0].undeploy(MODEL)
    await eventually(lambda: _none_serves(clients))
    for client in clients:
        await client.__aexit__(None, None, None)


async def _poison_is_refused_by_both(running: RunningSuite, clients: list[Client], directory: Path) -> None:
    client, bad, good = clients[0], {"x": np.array([-1], np.int32)}, {"x": np.array([2], np.int32)}
    await client.push(POISON, models.save(models.crash_on_input(), directory / "poison.onnx"))
    await client.deploy(POISON, replicas=2, timeout_s=60)
    killed = runners(running, f"{POISON}@1")
    with pytest.raises(ModelExecutionError, match="two runners died while they executed this call"):
        await client.infer(POISON, bad)
    await eventually(lambda: _are_replaced(client, running, killed), 60)
    alive = runners(running, f"{POISON}@1")
    answers = await asyncio.gather(*(c.infer(POISON, bad) for c in clients), return_exceptions=True)
    assert {type(answer) for answer in answers} == {ModelExecutionError}
    assert all("a call with these inputs; they are refused" in str(answer) for answer in answers)
    await asyncio.gather(*(c.infer(POISON, good) for c in clients))
    assert runners(running, f"{POISON}@1") == alive
    await client.undeploy(POISON)


async def _are_replaced(client: Client, running: RunningSuite, killed: dict[str, Process]) -> bool:
    ready = (await client.deployment(POISON)).ready_replicas == 2
    alive = set(runners(running, f"{POISON}@1").values())
    return ready and len(alive) == 2 and not alive & set(killed.values())


def _doors(running: RunningSuite) -> list[Process]:
    return [p for p in running.tree() if "modelyard_scheduler.frontdoor" in arguments(p)]


async def _all_are_answered(clients: list[Client]) -> bool:
    answers = await asyncio.gather(*(c.infer(MODEL, X, timeout_s=2) for c in clients), return_exceptions=True)
    return not any(isinstance(a, BaseException) for a in answers)


async def _none_serves(clients: list[Client]) -> bool:
    answers = await asyncio.gather(*(c.infer(MODEL, X, timeout_s=2) for c in clients), return_exceptions=True)
    return all(isinstance(a, PreconditionError) for a in answers)
