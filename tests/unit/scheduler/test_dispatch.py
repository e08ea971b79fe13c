"""Which instance executes a call, and what happens when it is lost under it: over real streams to runners."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from modelyard.errors import (
    DeadlineError,
    ExhaustedError,
    InvalidInputError,
    ModelExecutionError,
    PreconditionError,
    SequenceError,
    UnavailableError,
)
from modelyard.v1 import runner_pb2 as pb
from modelyard_scheduler.frontdoor import dispatch
from modelyard_scheduler.frontdoor.affinity import in_order
from tests.runners import FakeRunner, request
from tests.unit.scheduler.routing import DyingRunner, Table, runners
from tests.waiting import eventually

POISON = request(b"poison")
FULL = pb.Failure(error="ExhaustedError", message="full", retry_after_ms=250)
NOT_STARTED = pb.Failure(error="SequenceError", message="not started here")


@pytest.fixture
async def table() -> AsyncIterator[Table]:
    made = Table()
    yield made
    await asyncio.gather(*(s.close() for s in made.opened))


def many(count: int) -> list[bytes]:
    return [request(b"%03d" % i) for i in range(count)]


async def test_calls_spread_over_the_replicas(table: Table) -> None:
    async with runners(table, 3) as found:
        router = table.router()
        await asyncio.gather(*(router.infer(request(), 30) for _ in range(300)))
        assert all(len(r.calls) > 50 for r in found)


async def test_a_call_whose_runner_died_is_executed_by_another(table: Table) -> None:
    async with runners(table, 2) as (first, second):
        first.go.clear()
        second.go.clear()
        router = table.router()
        calls = [asyncio.ensure_future(router.infer(r, 30)) for r in many(20)]
        await first.received(1)
        await second.received(1)
        first.refuse = True
        first.cut()
        second.go.set()
        assert await asyncio.gather(*calls) == many(20)


async def test_calls_of_a_runner_that_ends_in_order_are_no_suspects(table: Table) -> None:
    async with runners(table, 2) as (first, second):
        first.go.clear()
        second.go.clear()
        router = table.router()
        calls = [asyncio.ensure_future(router.infer(r, 30)) for r in many(20)]
        await first.received(1)
        first.refuse = True
        first.end()
        second.go.set()
        assert await asyncio.gather(*calls) == many(20)
        assert not any(c.alone for c in second.calls)


async def test_a_call_that_kills_two_runners_fails_and_takes_no_other_with_it(table: Table) -> None:
    async with runners(table, 2) as found:
        dying = [DyingRunner(r, b"poison") for r in found]
        router = table.router()
        calls = many(40)
        calls.insert(17, POISON)
        answers = await asyncio.gather(*(router.infer(c, 30) for c in calls), return_exceptions=True)
        (failed,) = [a for a in answers if isinstance(a, Exception)]
        assert isinstance(failed, ModelExecutionError)
        assert failed.message == "model 'm@1': two runners died while they executed this call"
        assert [a for a in answers if not isinstance(a, Exception)] == [c for c in calls if c != POISON]
        assert sum(d.deaths for d in dying) == 2
        assert [c.alone for r in found for c in r.calls if c.request == POISON].count(True) == 1


async def test_inputs_that_killed_two_runners_are_refused_whatever_else_is_in_the_request(table: Table) -> None:
    async with runners(table, 2) as found:
        dying = [DyingRunner(r, b"poison") for r in found]
        router = table.router()
        with pytest.raises(ModelExecutionError, match="two runners died while they executed this call"):
            await router.infer(POISON, 30)
        await eventually(lambda: all(s.usable for s in table.opened))
        for again in (POISON, request(b"poison", version="1", priority=3)):
            with pytest.raises(ModelExecutionError, match="a call with these inputs; they are refused for 60 s"):
                await router.infer(again, 30)
        assert sum(d.deaths for d in dying) == 2
        assert await router.infer(request(b"good"), 30) == request(b"good")


async def test_inputs_that_kill_the_only_runner_again_are_to_blame_and_refused(table: Table) -> None:
    async with runners(table, 1) as (runner,):
        dying = DyingRunner(runner, b"poison")
        router, streams = table.router(), list(table.opened)
        call = asyncio.ensure_future(router.infer(POISON, 30))
        await runner.received(1)
        table.opened.clear()  # as when the instance is loaded anew
        with pytest.raises(UnavailableError, match="model 'm@1': no instance of it is READY"):
            await call
        table.opened += streams
        await eventually(lambda: table.opened[0].usable)
        for reason in ("two runners died while they executed this call", "they are refused for 60 s"):
            with pytest.raises(ModelExecutionError, match=reason):
                await router.infer(POISON, 30)
            await eventually(lambda: table.opened[0].usable)
        assert dying.deaths == 2
        assert [c.alone for c in runner.calls] == [False, True]


async def test_inputs_with_which_a_runner_died_are_no_suspects_any_more_once_they_are_answered(table: Table) -> None:
    async with runners(table, 1) as (runner,):
        runner.go.clear()
        router = table.router()
        call = asyncio.ensure_future(router.infer(request(), 30))
        await runner.received(1)
        runner.cut()
        runner.go.set()
        assert await call == request()
        assert await router.infer(request(), 30) == request()
        assert [c.alone for c in runner.calls] == [False, True, False]


async def test_a_suspect_that_had_not_begun_when_its_runner_died_again_is_innocent(table: Table) -> None:
    async with runners(table, 1) as (runner,):
        runner.begins = False
        runner.go.clear()
        call = asyncio.ensure_future(table.router().infer(request(), 30))
        for deaths in (1, 2):
            await runner.received(deaths)
            runner.cut()
        await runner.received(3)
        runner.go.set()
        assert await call == request()
        assert [c.alone for c in runner.calls] == [False, True, True]


async def test_a_suspect_that_runners_die_with_again_and_again_is_to_blame_all_the_same(table: Table) -> None:
    async with runners(table, 1) as (runner,):
        runner.begins = False
        dying = DyingRunner(runner, b"poison")
        with pytest.raises(ModelExecutionError):
            await table.router().infer(POISON, 30)
        assert dying.deaths == 1 + dispatch.MAX_DEATHS


async def test_two_calls_that_kill_at_the_same_time_take_no_other_with_them(table: Table) -> None:
    async with runners(table, 3) as found:
        dying = [DyingRunner(r, b"poison") for r in found]
        router = table.router()
        calls = many(40)
        for place in (31, 7):
            calls.insert(place, request(b"poison%d" % place))
        answers = await asyncio.gather(*(router.infer(c, 30) for c in calls), return_exceptions=True)
        assert [i for i, a in enumerate(answers) if isinstance(a, ModelExecutionError)] == [7, 32]
        assert [a for a in answers if not isinstance(a, Exception)] == [c for c in calls if b"poison" not in c]
        assert sum(d.deaths for d in dying) == 4


async def test_a_call_that_kills_once_is_answered(table: Table) -> None:
    async with runners(table, 2) as found:
        dying = DyingRunner(found[0], b"poison")
        found[1].go.clear()
        call = asyncio.ensure_future(table.router().infer(POISON, 30))
        await eventually(lambda: dying.deaths == 1 or found[1].calls)
        found[1].go.set()
        assert await call == POISON


async def test_a_suspect_runs_alone_and_the_others_wait_for_it(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    async with runners(table, 1) as (runner,):
        runner.go.clear()
        router = table.router()
        suspect = asyncio.ensure_future(router.infer(request(b"suspect"), 30))
        await runner.received(1)
        runner.cut()
        await runner.received(2)
        monkeypatch.setattr(dispatch, "CONNECT_S", 0.05)
        others = [asyncio.ensure_future(router.infer(request(b"other"), 30)) for _ in range(5)]
        await asyncio.wait(others, timeout=10 * dispatch.CONNECT_S)  # they wait as in a queue, and are not refused
        assert not any(o.done() for o in others)
        assert [(c.request, c.alone) for c in runner.calls] == [(request(b"suspect"), a) for a in (False, True)]
        assert table.opened[0].outstanding == 1
        runner.go.set()
        assert await suspect == request(b"suspect")
        assert await asyncio.gather(*others) == [request(b"other")] * 5


async def test_what_the_runner_answers_is_not_tried_again(table: Table) -> None:
    async with runners(table, 2) as found:
        for runner in found:
            runner.failure = pb.Failure(error="InvalidInputError", message="bad")
        with pytest.raises(InvalidInputError):
            await table.router().infer(request(), 30)
        assert sum(len(r.calls) for r in found) == 1


async def test_a_full_queue_sends_the_call_to_one_other(table: Table) -> None:
    async with runners(table, 3) as found:
        for runner in found:
            runner.failures = [FULL]
        with pytest.raises(ExhaustedError) as full:
            await table.router().infer(request(), 30)
        assert full.value.retry_after_s == 0.25
        assert sorted(len(r.calls) for r in found) == [0, 1, 1]
        assert await table.router().infer(request(), 30) == request()


async def test_a_full_queue_does_not_send_the_call_to_one_that_has_more_to_do(table: Table) -> None:
    async with runners(table, 2) as (idle, busy):
        busy.go.clear()
        calls = [asyncio.ensure_future(table.opened[1].call(r, None)) for r in many(2)]
        await busy.received(2)
        idle.failures = [FULL]
        with pytest.raises(ExhaustedError):
            await table.router().infer(request(), 30)
        assert len(busy.calls) == 2
        busy.go.set()
        await asyncio.gather(*calls)


async def test_a_runner_that_dies_under_a_call_from_a_full_queue_makes_it_a_suspect(table: Table) -> None:
    async with runners(table, 2) as found:
        for runner in found:
            runner.failures = [FULL]
            runner.go.clear()
        call = asyncio.ensure_future(table.router().infer(request(), 30))
        await eventually(lambda: any(r.calls for r in found))
        first, second = found if found[0].calls else reversed(found)
        first.go.set()
        await second.received(1)
        second.failures = []
        second.refuse = True
        second.cut()
        assert await call == request()
        assert [c.alone for c in first.calls] == [False, True]


async def test_a_call_waits_for_a_stream_that_is_being_connected(table: Table) -> None:
    async with FakeRunner().serve() as runner:
        runner.refuse = True
        stream = table.open(runner)
        call = asyncio.ensure_future(table.router().infer(request(), 30))
        await eventually(lambda: runner.metadata)
        assert not stream.usable
        runner.refuse = False
        assert await call == request()


async def test_a_call_takes_a_stream_that_appears_while_it_waits(table: Table) -> None:
    async with FakeRunner().serve() as gone:
        pass
    table.open(gone)
    call = asyncio.ensure_future(table.router().infer(request(), 30))
    async with FakeRunner().serve() as runner:
        await asyncio.sleep(0)
        table.open(runner)
        assert await call == request()


async def test_nothing_that_can_be_reached_is_unavailable(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "CONNECT_S", 0.05)
    with pytest.raises(UnavailableError, match="model 'm@1': no instance of it is READY") as caught:
        await table.router().infer(request(), 30)
    assert caught.value.retry_after_s == dispatch.RETRY_AFTER_S
    async with FakeRunner().serve() as gone:
        pass
    table.open(gone)
    with pytest.raises(UnavailableError, match="model 'm@1': no instance of it can be reached"):
        await table.router().infer(request(), 30)


async def test_a_call_whose_deadline_has_passed_is_not_sent(table: Table) -> None:
    async with runners(table, 1) as (runner,):
        with pytest.raises(DeadlineError):
            await table.router().infer(request(), 0.0)
        assert runner.calls == []


async def test_a_suspect_waits_for_its_turn_no_longer_than_its_deadline(table: Table) -> None:
    async with runners(table, 2) as found:
        router = table.router()
        for runner in found:
            runner.go.clear()
        first = asyncio.ensure_future(router.infer(request(b"first"), None))
        await eventually(lambda: any(r.calls for r in found))
        next(r for r in found if r.calls).cut()
        await eventually(lambda: any(c.alone for r in found for c in r.calls))
        (other,) = [r for r in found if not any(c.alone for c in r.calls)]
        await eventually(lambda: all(s.connected for s in table.opened))
        late = asyncio.ensure_future(router.infer(request(b"late"), 1.5))
        await other.received(len(other.calls) + 1)
        other.cut()
        await asyncio.wait([late], timeout=60)
        first.cancel()
        assert late.done()
        assert isinstance(late.exception(), DeadlineError)


async def test_a_suspect_waits_for_those_before_it_no_longer_than_its_deadline(table: Table) -> None:
    async with runners(table, 2) as (dying, busy):
        dying.go.clear()
        busy.go.clear()
        before = [asyncio.ensure_future(table.opened[1].call(r, None)) for r in many(2)]
        await busy.received(2)
        late = asyncio.ensure_future(table.router().infer(request(b"late"), 1.5))
        await dying.received(1)
        dying.refuse = True
        dying.cut()
        done, _ = await asyncio.wait([late], timeout=60)
        busy.go.set()
        await asyncio.gather(*before)
        assert [type(call.exception()) for call in done] == [DeadlineError]


async def test_a_call_is_not_repeated_after_its_deadline(table: Table) -> None:
    async with runners(table, 1) as (runner,):
        runner.go.clear()
        call = asyncio.ensure_future(table.router().infer(request(), 0.2))
        await runner.received(1)
        runner.refuse = True
        runner.cut()
        with pytest.raises(DeadlineError):
            await call
        assert len(runner.calls) == 1


async def test_a_client_that_leaves_while_it_waits_leaves_nothing_behind(table: Table) -> None:
    async with runners(table, 1) as (runner,):
        router = table.router()
        runner.go.clear()
        suspect = asyncio.ensure_future(router.infer(request(b"suspect"), None))
        await runner.received(1)
        runner.cut()
        await runner.received(2)
        waiting = asyncio.ensure_future(router.infer(request(b"waiting"), None))
        await asyncio.sleep(0)
        for call in (waiting, suspect):
            call.cancel()
        await asyncio.wait([waiting, suspect])
        runner.go.set()
        assert await router.infer(request(), 30) == request()


async def test_calls_of_one_key_go_to_one_instance_while_it_is_there(table: Table) -> None:
    async with runners(table, 3) as found:
        router = table.router()
        for key in ("a", "b", "c", "d", "e", "f", "g", "h"):
            for _ in range(3):
                await router.infer(request(routing_key=key), 30)
        assert all(len(r.calls) % 3 == 0 for r in found)
        assert sum(bool(r.calls) for r in found) > 1
        order = [s.instance.worker for s in in_order("a", table.opened)]
        by_worker = {r.worker: r for r in found}
        by_worker[order[0]].refuse = True
        by_worker[order[0]].cut()
        await eventually(lambda: not all(s.usable for s in table.opened))
        before = len(by_worker[order[1]].calls)
        await router.infer(request(routing_key="a"), 30)
        assert len(by_worker[order[1]].calls) == before + 1


def preferred(table: Table, found: list[FakeRunner], key: str) -> list[FakeRunner]:
    """Runners in the order of a key."""
    by_worker = {r.worker: r for r in found}
    return [by_worker[s.instance.worker] for s in in_order(key, table.opened)]


async def test_a_sequence_is_looked_for_in_its_order(table: Table) -> None:
    async with runners(table, 3) as found:
        first, second, third = preferred(table, found, "42")
        first.failures = [NOT_STARTED]
        sent = request(sequence_id=42)
        assert await table.router().infer(sent, 30) == sent
        assert [len(r.calls) for r in (first, second, third)] == [1, 1, 0]
        for runner in found:
            runner.failure = NOT_STARTED
        with pytest.raises(SequenceError, match="not started here"):
            await table.router().infer(sent, 30)
        assert [len(r.calls) for r in (first, second, third)] == [2, 2, 1]
        table.withdrawn = True
        with pytest.raises(UnavailableError, match="sequence 42 was lost with an instance that has gone"):
            await table.router().infer(sent, 30)


async def test_a_sequence_is_lost_with_its_instance_and_not_moved(table: Table) -> None:
    async with runners(table, 2) as found:
        first, second = preferred(table, found, "s")
        first.go.clear()
        call = asyncio.ensure_future(table.router().infer(request(sequence_id="s"), 30))
        await first.received(1)
        first.cut()
        with pytest.raises(UnavailableError, match="model 'm@1': sequence s is lost with its instance"):
            await call
        assert second.calls == []


async def test_a_call_of_a_sequence_that_kills_two_runners_is_to_blame_and_refused(table: Table) -> None:
    async with runners(table, 2) as found:
        dying = [DyingRunner(r, b"poison") for r in found]
        router = table.router()
        poison = request(b"poison", sequence_id=7)
        for expected in (UnavailableError, ModelExecutionError, ModelExecutionError):
            await eventually(lambda: all(s.usable for s in table.opened))
            with pytest.raises(expected):
                await router.infer(poison, 30)
        assert sum(d.deaths for d in dying) == 2


async def test_equal_calls_of_sequences_that_are_lost_in_one_death_are_not_to_blame(table: Table) -> None:
    async with runners(table, 1) as (runner,):
        runner.go.clear()
        router = table.router()
        calls = [asyncio.ensure_future(router.infer(request(sequence_id=i), 30)) for i in range(1, 4)]
        await runner.received(3)
        runner.cut()
        lost = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(error) for error in lost] == [UnavailableError] * 3


async def test_a_sequence_of_which_an_instance_that_is_away_may_know_is_not_called_unknown(table: Table) -> None:
    async with runners(table, 2) as found:
        first, second = preferred(table, found, "s")
        second.refuse = True
        second.cut()
        await eventually(lambda: sum(s.usable for s in table.opened) == 1)
        first.failures = [NOT_STARTED]
        with pytest.raises(UnavailableError, match="an instance that may know sequence s cannot be reached"):
            await table.router().infer(request(sequence_id="s"), 30)


async def test_a_sequence_waits_for_an_instance_that_is_reserved(table: Table) -> None:
    async with runners(table, 2) as found:
        first, second = preferred(table, found, "s")
        stream = next(s for s in table.opened if s.instance.worker == first.worker)
        async with stream.reserved():
            call = asyncio.ensure_future(table.router().infer(request(sequence_id="s"), 30))
            await asyncio.sleep(0)
            assert stream.outstanding == 0
        assert await call == request(sequence_id="s")
        assert second.calls == []


async def test_calls_of_an_on_demand_version_wait_until_it_is_loaded(table: Table) -> None:
    table.deploy("1", on_demand=True)
    router = table.router()
    calls = [asyncio.ensure_future(router.infer(r, 30)) for r in many(100)]
    await eventually(lambda: table.noted >= 100)
    async with runners(table, 1) as (runner,):
        table.pulse()
        assert await asyncio.gather(*calls) == many(100)
        assert len(runner.calls) == 100


async def test_an_on_demand_version_that_cannot_be_loaded_says_why(table: Table) -> None:
    table.deploy("1", on_demand=True)
    call = asyncio.ensure_future(table.router().infer(request(), 30))
    await eventually(lambda: table.noted)
    table.reason = "w0: broken"
    table.pulse()
    with pytest.raises(UnavailableError, match="model 'm@1': w0: broken"):
        await call


async def test_an_on_demand_version_is_waited_for_only_so_long(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    table.deploy("1", on_demand=True)
    with pytest.raises(DeadlineError):
        await table.router().infer(request(), 0.05)
    monkeypatch.setattr(dispatch, "LOAD_S", 0.05)
    with pytest.raises(UnavailableError):
        await table.router().infer(request(), 30)


async def test_an_on_demand_version_that_is_withdrawn_is_not_waited_for_or_asked_for(table: Table) -> None:
    table.deploy("1", on_demand=True)
    call = asyncio.ensure_future(table.router().infer(request(), 2))
    await eventually(lambda: table.noted)
    noted = table.noted
    del table.deployed["1"]
    table.pulse()
    with pytest.raises(PreconditionError, match="model 'm@1': it was undeployed while the call waited; deploy it"):
        await call
    assert table.noted == noted
