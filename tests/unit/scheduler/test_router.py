"""Which instance executes a call, and what happens when it is lost under it: over real streams to runners."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import cast

import pytest

from modelyard.catalogue import Resources as Need
from modelyard.catalogue import Signature, Version
from modelyard.errors import (
    DeadlineError,
    InvalidInputError,
    ModelExecutionError,
    NotFoundError,
    PreconditionError,
    UnavailableError,
)
from modelyard.names import ModelVersion
from modelyard.v1 import runner_pb2 as pb
from modelyard_scheduler.frontdoor import router as routing
from modelyard_scheduler.frontdoor.router import Router, pick
from modelyard_scheduler.frontdoor.stream import ExecuteStream
from modelyard_scheduler.frontdoor.table import RoutingTable
from tests.runners import FakeRunner
from tests.waiting import eventually

TARGET = ModelVersion("m", "1")
POISON = b"poison"


class Streams:
    """A routing table of one deployed version, its streams opened by the test."""

    def __init__(self) -> None:
        self.opened: list[ExecuteStream] = []
        self.aliases = {"prod": "1"}
        self.deployed_since = False
        self._pulse = asyncio.Event()

    def resolve(self, model: str, version: str) -> ModelVersion | None:
        return TARGET if model == "m" and version in ("", "1") else None

    def streams(self, version: ModelVersion) -> list[ExecuteStream]:
        return self.opened if version == TARGET else []

    async def is_deployed(self, version: ModelVersion) -> bool:
        return self.deployed_since

    async def changed(self) -> None:
        await self._pulse.wait()

    def pulse(self) -> None:
        self._pulse.set()
        self._pulse.clear()

    def open(self, runner: FakeRunner) -> ExecuteStream:
        self.opened.append(ExecuteStream(runner.instance, self.pulse))
        return self.opened[-1]

    async def find_version(self, model: str, reference: str) -> Version:
        name = self.aliases.get(reference, reference) or "7"
        if model == "unknown" or name == "99":
            raise NotFoundError(f"model {model!r}: not registered")
        return Version(model, name, "onnx", Signature(), Need(), "d" * 64, 1)


@pytest.fixture
async def table() -> AsyncIterator[Streams]:
    streams = Streams()
    yield streams
    await asyncio.gather(*(s.close() for s in streams.opened))


def routed(table: Streams) -> Router:
    return Router(cast(RoutingTable, table), table.find_version)


@contextlib.asynccontextmanager
async def runners(table: Streams, count: int) -> AsyncIterator[list[FakeRunner]]:
    """Runners on streams that are connected."""
    async with contextlib.AsyncExitStack() as stack:
        found = [await stack.enter_async_context(FakeRunner(f"w{i}").serve()) for i in range(count)]
        for runner in found:
            table.open(runner)
        await eventually(lambda: all(s.usable for s in table.opened))
        yield found


class FakeStream:
    def __init__(self, outstanding: int, usable: bool = True) -> None:
        self.outstanding = outstanding
        self.usable = usable


def picks(*streams: FakeStream) -> Counter[int]:
    random.seed(7)
    chosen = [pick(cast(list[ExecuteStream], list(streams))) for _ in range(3000)]
    return Counter(streams.index(cast(FakeStream, c)) for c in chosen)


def test_pick_of_none_and_of_one() -> None:
    assert pick([]) is None
    assert pick(cast(list[ExecuteStream], [FakeStream(0, usable=False)])) is None
    assert picks(FakeStream(0, usable=False), FakeStream(9)) == {1: 3000}


def test_pick_takes_the_less_loaded_of_two() -> None:
    assert picks(FakeStream(5), FakeStream(4)) == {1: 3000}


def test_pick_is_the_power_of_two_choices() -> None:
    # Of n ranked by load, the k-th least loaded is taken with probability 2 (n - k) / (n (n - 1)).
    counts = picks(*(FakeStream(i) for i in range(4)))
    assert [counts[i] / 3000 for i in range(4)] == pytest.approx([1 / 2, 1 / 3, 1 / 6, 0], abs=0.03)


async def test_calls_spread_over_the_replicas(table: Streams) -> None:
    async with runners(table, 3) as found:
        await asyncio.gather(*(routed(table).infer("m", "", b"x", 30) for _ in range(300)))
        assert all(len(r.calls) > 50 for r in found)


async def test_a_call_whose_runner_died_is_executed_by_another(table: Streams) -> None:
    async with runners(table, 2) as found:
        for runner in found:
            runner.go.clear()
        calls = [asyncio.ensure_future(routed(table).infer("m", "1", b"%d" % i, 30)) for i in range(20)]
        first, second = found
        await first.received(1)
        await second.received(1)
        first.refuse = True
        first.cut()
        second.go.set()
        assert await asyncio.gather(*calls) == [b"%d" % i for i in range(20)]


class DyingRunner:
    """Makes a runner break off at POISON, before it answers what came with it."""

    def __init__(self, runner: FakeRunner) -> None:
        self.deaths = 0
        self._runner = runner
        self._reply: Callable[[pb.Call], pb.Reply] = runner._reply
        runner._reply = self._answer  # type: ignore[method-assign]

    def _answer(self, call: pb.Call) -> pb.Reply:
        if call.request == POISON:
            self.deaths += 1
            self._runner.cut()
        return self._reply(call)


async def test_a_call_that_kills_two_runners_fails_and_takes_no_other_with_it(table: Streams) -> None:
    async with runners(table, 2) as found:
        dying = [DyingRunner(r) for r in found]
        router = routed(table)
        calls = [b"%d" % i for i in range(40)]
        calls.insert(17, POISON)
        answers = await asyncio.gather(*(router.infer("m", "1", c, 30) for c in calls), return_exceptions=True)
        (failed,) = [a for a in answers if isinstance(a, Exception)]
        assert isinstance(failed, ModelExecutionError)
        assert failed.message == "model 'm@1': two runners died while they executed this call"
        assert [a for a in answers if not isinstance(a, Exception)] == [c for c in calls if c != POISON]
        assert sum(d.deaths for d in dying) == 2


async def test_two_calls_that_kill_at_the_same_time_take_no_other_with_them(table: Streams) -> None:
    async with runners(table, 3) as found:
        dying = [DyingRunner(r) for r in found]
        router = routed(table)
        calls = [b"%d" % i for i in range(40)]
        for place in (31, 7):
            calls.insert(place, POISON)
        answers = await asyncio.gather(*(router.infer("m", "1", c, 30) for c in calls), return_exceptions=True)
        assert [i for i, a in enumerate(answers) if isinstance(a, ModelExecutionError)] == [7, 32]
        assert [a for a in answers if not isinstance(a, Exception)] == [c for c in calls if c != POISON]
        assert sum(d.deaths for d in dying) == 4


async def test_a_call_that_kills_once_is_answered(table: Streams) -> None:
    async with runners(table, 2) as found:
        dying = DyingRunner(found[0])
        found[1].go.clear()
        call = asyncio.ensure_future(routed(table).infer("m", "1", POISON, 30))
        await eventually(lambda: dying.deaths == 1 or found[1].calls)
        found[1].go.set()
        assert await call == POISON


async def test_a_suspect_runs_alone_and_the_others_wait_for_it(table: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    async with runners(table, 1) as (runner,):
        runner.go.clear()
        router = routed(table)
        suspect = asyncio.ensure_future(router.infer("m", "1", b"suspect", 30))
        await runner.received(1)
        runner.cut()
        await runner.received(2)
        monkeypatch.setattr(routing, "CONNECT_S", 0.05)
        others = [asyncio.ensure_future(router.infer("m", "1", b"other", 30)) for _ in range(5)]
        await asyncio.wait(others, timeout=10 * routing.CONNECT_S)  # they wait as in a queue, and are not refused
        assert not any(o.done() for o in others)
        assert [c.request for c in runner.calls] == [b"suspect"] * 2
        assert table.opened[0].outstanding == 1
        runner.go.set()
        assert await suspect == b"suspect"
        assert await asyncio.gather(*others) == [b"other"] * 5


async def test_what_the_runner_answers_is_not_tried_again(table: Streams) -> None:
    async with runners(table, 2) as found:
        for runner in found:
            runner.failure = pb.Failure(error="InvalidInputError", message="bad")
        with pytest.raises(InvalidInputError):
            await routed(table).infer("m", "1", b"x", 30)
        assert sum(len(r.calls) for r in found) == 1


async def test_a_call_waits_for_a_stream_that_is_being_connected(table: Streams) -> None:
    async with FakeRunner().serve() as runner:
        runner.refuse = True
        stream = table.open(runner)
        call = asyncio.ensure_future(routed(table).infer("m", "1", b"x", 30))
        await eventually(lambda: runner.metadata)
        assert not stream.usable
        runner.refuse = False
        assert await call == b"x"


async def test_a_call_takes_a_stream_that_appears_while_it_waits(table: Streams) -> None:
    async with FakeRunner().serve() as gone:
        pass
    table.open(gone)
    call = asyncio.ensure_future(routed(table).infer("m", "1", b"x", 30))
    async with FakeRunner().serve() as runner:
        await asyncio.sleep(0)
        table.open(runner)
        assert await call == b"x"


async def test_nothing_that_can_be_reached_is_unavailable(table: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "CONNECT_S", 0.05)
    with pytest.raises(UnavailableError, match="model 'm@1': no instance of it is READY") as caught:
        await routed(table).infer("m", "1", b"x", 30)
    assert caught.value.retry_after_s == routing.RETRY_AFTER_S
    async with FakeRunner().serve() as gone:
        pass
    table.open(gone)
    with pytest.raises(UnavailableError, match="model 'm@1': no instance of it can be reached"):
        await routed(table).infer("m", "1", b"x", 30)


async def test_what_is_not_deployed_and_what_does_not_exist(table: Streams) -> None:
    router = routed(table)
    with pytest.raises(NotFoundError):
        await router.infer("unknown", "", b"x", None)
    with pytest.raises(NotFoundError):
        await router.infer("m", "99", b"x", None)
    with pytest.raises(PreconditionError, match="model 'm@7': registered but not deployed; deploy it first"):
        await router.infer("m", "7", b"x", None)
    table.deployed_since = True
    with pytest.raises(UnavailableError, match="model 'm@7': it was deployed just now"):
        await router.infer("m", "7", b"x", None)


async def test_an_alias_means_its_version(table: Streams) -> None:
    async with runners(table, 1):
        assert await routed(table).infer("m", "prod", b"x", 30) == b"x"
        assert await routed(table).resolve("m", "prod") == TARGET


async def test_a_call_whose_deadline_has_passed_is_not_sent(table: Streams) -> None:
    async with runners(table, 1) as (runner,):
        with pytest.raises(DeadlineError):
            await routed(table).infer("m", "1", b"x", 0.0)
        assert runner.calls == []


async def test_a_client_that_leaves_while_it_waits_leaves_nothing_behind(table: Streams) -> None:
    async with runners(table, 1) as (runner,):
        router = routed(table)
        runner.go.clear()
        suspect = asyncio.ensure_future(router.infer("m", "1", b"suspect", None))
        await runner.received(1)
        runner.cut()
        await runner.received(2)
        waiting = asyncio.ensure_future(router.infer("m", "1", b"waiting", None))
        await asyncio.sleep(0)
        for call in (waiting, suspect):
            call.cancel()
        await asyncio.wait([waiting, suspect])
        runner.go.set()
        assert await router.infer("m", "1", b"x", 30) == b"x"
