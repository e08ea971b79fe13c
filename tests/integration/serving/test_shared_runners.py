"""Instances that name the same runner: one process, and what becomes of all of them when it dies."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from pathlib import Path

import pytest

from modelyard.deployment import InstanceOptions, InstanceState, Placement
from modelyard.errors import DeadlineError
from modelyard_worker import runner_client, runners
from tests import models
from tests.integration.serving.machine import Machine
from tests.integration.serving.traffic import own_runners
from tests.waiting import eventually

READY, FAILED, LOADING = InstanceState.READY, InstanceState.FAILED, InstanceState.LOADING


async def test_two_share_a_process_and_the_last_one_ends_it(machine: Machine, tmp_path: Path) -> None:
    digest = machine.store("a", models.mlp((4, 2)))
    await machine.place("m", digest, runner="shared")
    await machine.place("n", digest, runner="shared")
    await machine.place("alone", digest)
    first, second, alone = [await machine.becomes(name, READY) for name in ("m", "n", "alone")]
    assert first.endpoint == second.endpoint != alone.endpoint
    assert len(own_runners()) == 2
    assert (tmp_path / "logs" / "shared.log").exists()
    await machine.withdraw("m")
    await machine.is_gone("m")
    assert len(own_runners()) == 2
    assert await machine.becomes("n", READY) == second
    await machine.withdraw("n")
    await machine.is_gone("n")
    assert len(own_runners()) == 1


async def test_when_it_dies_all_of_them_are_loaded_anew_into_one(machine: Machine) -> None:
    digest = machine.store("a", models.mlp((4, 2)))
    for name in ("m", "n"):
        await machine.place(name, digest, runner="shared")
        await machine.becomes(name, READY)
    (runner,) = own_runners()
    runner.signal(signal.SIGKILL)
    again = [LOADING, READY, LOADING, READY]
    await eventually(lambda: machine.states("m") == machine.states("n") == again)
    for name in ("m", "n"):
        (reason,) = {i.reason for i in machine.said if i.model == name and i.reason}
        assert reason == "the runner ended: killed by SIGKILL; loading anew"
    assert (await machine.becomes("m", READY)).endpoint == (await machine.becomes("n", READY)).endpoint
    assert len(own_runners()) == 1


async def test_one_that_kills_it_at_load_is_tried_again_in_a_process_of_its_own(machine: Machine) -> None:
    await machine.place("good", machine.store("a", models.mlp((4, 2))), runner="shared")
    await machine.becomes("good", READY)
    await machine.place("bad", machine.store("b", models.crash_at_load()), runner="shared")
    await eventually(lambda: machine.states("bad").count(FAILED) >= 3, 60)
    assert machine.states("good").count(LOADING) == 2  # the first, and when the other killed it
    assert (await machine.becomes("good", READY)).failures == 1


async def test_one_that_is_withdrawn_while_it_is_loaded_holds_up_nobody_elsewhere(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go = asyncio.Event(), asyncio.Event()
    load = runner_client.load

    async def slow(address: str, placement: Placement, directory: Path, timeout_s: float) -> runner_client.Loaded:
        if placement.model == "slow":
            begun.set()
            await go.wait()
        return await load(address, placement, directory, timeout_s)

    monkeypatch.setattr(runner_client, "load", slow)
    digest = machine.store("a", models.mlp((4, 2)))
    await machine.place("m", digest, runner="shared")
    await machine.becomes("m", READY)
    await machine.place("slow", digest, runner="shared")
    await begun.wait()
    await machine.place("queued", digest, runner="shared")
    await machine.becomes("queued", LOADING)
    for name in ("queued", "slow"):
        await machine.withdraw(name)
        await machine.is_gone(name)
    await machine.place("alone", digest)
    await machine.becomes("alone", READY)
    (shared,) = machine.agent._runners._shared["shared"]
    assert shared.instances == {"m@1", "slow@1"}
    go.set()
    await eventually(lambda: shared.instances == {"m@1"})
    assert shared.seats == 1


async def test_one_that_is_not_unloaded_in_time_is_told_again_and_holds_up_nobody(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts, go = Counter[str](), asyncio.Event()
    unload = runner_client.unload

    async def slow(address: str, instance: str, timeout_s: float) -> None:
        attempts[instance] += 1
        if not go.is_set():
            raise DeadlineError("it takes longer than that")
        await unload(address, instance, timeout_s)

    monkeypatch.setattr(runner_client, "unload", slow)
    monkeypatch.setattr(runners, "UNLOAD_TIMEOUT_S", 0.1)
    digest = machine.store("a", models.mlp((4, 2)))
    for name in ("m", "n"):
        await machine.place(name, digest, runner="shared")
        await machine.becomes(name, READY)
    (shared,) = machine.agent._runners._shared["shared"]
    await machine.withdraw("m")
    await machine.is_gone("m")
    await machine.place("m", digest, runner="shared")
    await machine.becomes("m", READY)
    assert shared.instances == {"m@1", "n@1"}
    assert len(own_runners()) == 2
    await eventually(lambda: attempts["m@1"] >= 2)
    go.set()
    await eventually(lambda: shared.instances == {"n@1"})
    for name in ("m", "n"):
        await machine.withdraw(name)
        await machine.is_gone(name)
    assert own_runners() == []
    await machine.place("alone", digest)
    await machine.becomes("alone", READY)
    assert not machine.agent._runners._shared
    assert not machine.agent._runners._leaving


async def test_one_that_is_not_unloaded_is_gone_with_its_runner(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(address: str, instance: str, timeout_s: float) -> None:
        raise DeadlineError("it takes longer than that")

    monkeypatch.setattr(runner_client, "unload", never)
    monkeypatch.setattr(runners, "UNLOAD_TIMEOUT_S", 0.1)
    digest = machine.store("a", models.mlp((4, 2)))
    for name in ("m", "n"):
        await machine.place(name, digest, runner="shared")
        await machine.becomes(name, READY)
    for name in ("m", "n"):
        await machine.withdraw(name)
        await machine.is_gone(name)
    await eventually(lambda: not machine.agent._runners._leaving)
    assert own_runners() == []


async def test_one_that_fails_to_load_harms_nobody_in_it(machine: Machine) -> None:
    await machine.place("good", machine.store("a", models.mlp((4, 2))), runner="shared")
    before = await machine.becomes("good", READY)
    await machine.place("bad", machine.store("b", models.unimplemented()), runner="shared")
    await eventually(lambda: machine.states("bad").count(FAILED) >= 2, 60)
    assert await machine.becomes("good", READY) == before
    assert len(own_runners()) == 1


async def test_a_copy_that_follows_another_goes_into_the_next_process_of_the_name(machine: Machine) -> None:
    digest = machine.store("a", models.mlp((4, 2)))
    for name in ("m", "n"):
        await machine.place(name, digest, runner="shared")
    endpoints = {(await machine.becomes(name, READY)).endpoint for name in ("m", "n")}
    assert len(endpoints) == 1

    async def moved(name: str, threads: int) -> bool:
        instance = await machine.instance(name)
        return instance is not None and instance.options == InstanceOptions(threads=threads, runner="shared")

    await machine.place("m", digest, runner="shared", threads=2)
    await eventually(lambda: moved("m", 2))
    assert len(own_runners()) == 2
    await machine.place("n", digest, runner="shared", threads=2)
    await eventually(lambda: moved("n", 2))
    await eventually(lambda: len(own_runners()) == 1)
    assert (await machine.becomes("m", READY)).endpoint == (await machine.becomes("n", READY)).endpoint
    for name in ("m", "n"):
        assert machine.states(name) == [LOADING, READY, READY]
