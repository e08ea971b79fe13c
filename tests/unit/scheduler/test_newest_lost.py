"""Calls that leave the version to the front door, when the newest is lost under them: over real streams to runners."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from modelyard.errors import ModelExecutionError, UnavailableError
from modelyard.names import ModelVersion
from modelyard_scheduler.frontdoor import dispatch
from tests.runners import FakeRunner, request
from tests.unit.scheduler.routing import DyingRunner, Table, runners
from tests.waiting import eventually

OLDER = ModelVersion("m", "1")


@pytest.fixture
async def table(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Table]:
    """Version 2 is deployed beside version 1."""
    monkeypatch.setattr(dispatch, "CONNECT_S", 0.05)
    made = Table()
    made.deploy("2")
    yield made
    await asyncio.gather(*(s.close() for s in made.opened))


@pytest.fixture
async def both(table: Table) -> AsyncIterator[tuple[FakeRunner, FakeRunner]]:
    """A runner of each version, the newer first."""
    async with runners(table, 1) as (older,), runners(table, 1, version="2") as (newer,):
        yield newer, older


Both = tuple[FakeRunner, FakeRunner]


async def test_a_call_that_was_not_executed_goes_to_an_older_version(table: Table, both: Both) -> None:
    newer, older = both
    newer.go.clear()
    newer.refuse = True
    call = asyncio.ensure_future(table.router().infer(request(), 30))
    await newer.received(1)
    newer.end()
    assert await call == request()
    assert [c.alone for c in older.calls] == [False]
    assert table.seen == [(OLDER, "OK")]


async def test_a_call_under_which_the_newest_died_is_executed_alone_by_an_older_version(
    table: Table, both: Both
) -> None:
    newer, older = both
    newer.go.clear()
    newer.refuse = True
    call = asyncio.ensure_future(table.router().infer(request(), 30))
    await newer.received(1)
    newer.cut()
    assert await call == request()
    assert [c.alone for c in older.calls] == [True]


@pytest.mark.parametrize("named", [{"version": "2"}, {"model": "m@2"}, {"sequence_id": 7}])
async def test_calls_that_name_a_version_or_are_of_a_sequence_are_not_moved(
    table: Table, both: Both, named: dict[str, Any]
) -> None:
    newer, older = both
    newer.go.clear()
    newer.refuse = True
    call = asyncio.ensure_future(table.router().infer(request(**named), 30))
    await newer.received(1)
    newer.end()
    with pytest.raises(UnavailableError, match="model 'm@2'"):
        await call
    assert older.calls == []


async def test_inputs_that_kill_a_runner_of_each_version_are_refused_to_both(table: Table, both: Both) -> None:
    dying = [DyingRunner(runner, b"poison") for runner in both]
    both[0].refuse = True
    router = table.router()
    with pytest.raises(ModelExecutionError, match="two runners died while they executed this call"):
        await router.infer(request(b"poison"), 30)
    both[0].refuse = False
    await eventually(lambda: all(s.usable for s in table.opened))
    for version in ("", "1", "2"):
        with pytest.raises(ModelExecutionError, match="a call with these inputs"):
            await router.infer(request(b"poison", version=version), 30)
    assert [d.deaths for d in dying] == [1, 1]


async def test_the_instances_of_a_model_are_those_of_an_older_version_then(table: Table, both: Both) -> None:
    newer, older = both
    newer.refuse = True
    newer.cut()
    await eventually(lambda: sum(s.connected for s in table.opened) == 1)
    way = await table.router().way("m", "", 30)
    assert (way.version, [i.endpoint for i in way.instances]) == (OLDER, [older.endpoint])
