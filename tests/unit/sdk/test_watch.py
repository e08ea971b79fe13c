from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from modelyard import client as sync
from modelyard.aio import Client
from modelyard.catalogue import Alias, Model, Resources, Signature, Version
from modelyard.errors import InvalidInputError, ModelyardError, UnavailableError
from modelyard.events import CatalogueEvent, EventKind
from modelyard.rpc import convert
from modelyard.rpc.server import Server
from modelyard.sdk.attempts import FIRST_DELAY_S, MAX_DELAY_S, Attempts
from modelyard.sdk.watch import Place
from modelyard.v1 import registry_pb2 as pb
from tests.waiting import eventually

RESET, PUT, DELETE, SYNCED = EventKind.RESET, EventKind.PUT, EventKind.DELETE, EventKind.SYNCED


def change(revision: int, name: str = "m", kind: EventKind = PUT) -> CatalogueEvent:
    """Of a model, or `model@version`, or `model:alias`."""
    resource: Model | Version | Alias = Model(name)
    model = name
    if "@" in name:
        model, _, version = name.partition("@")
        resource = Version(model, version, "", Signature(), Resources(), "", 0)
    if ":" in name:
        model, _, alias = name.partition(":")
        resource = Alias(alias, "")
    return CatalogueEvent(kind, revision, model, resource)


def mark(kind: EventKind, revision: int = 0) -> CatalogueEvent:
    return CatalogueEvent(kind, revision)


def take(place: Place, *events: CatalogueEvent) -> list[CatalogueEvent]:
    """One stream of these events."""
    place.reopen()
    return [told for event in events for told in place.take(event)]


def test_a_stream_that_never_breaks_is_told_as_it_is() -> None:
    listing = [change(0, "a"), change(0, "a@1"), mark(SYNCED, 5)]
    events = [*listing, change(6, "a"), change(6, "a:1"), change(6, "a@1"), change(9, "a", DELETE), change(10, "a")]
    place = Place(0)
    assert take(place, *events) == events
    assert place.revision == 10


def test_what_was_told_of_the_last_transaction_is_not_told_again() -> None:
    place = Place(5)
    assert len(take(place, change(5, "a"), change(7, "a"), change(7, "b"))) == 3
    assert place.revision == 7
    again = take(place, change(7, "a"), change(7, "b"), change(7, "b", DELETE), change(7, "c@1"), change(8, "a"))
    assert again == [change(7, "c@1"), change(8, "a")]
    assert take(place, change(8, "a"), change(9, "a")) == [change(9, "a")]


def test_after_all_that_is_there_it_goes_on_behind_it() -> None:
    place = Place(0)
    take(place, change(0, "a"), mark(SYNCED, 5))
    assert place.revision == 6
    assert take(place, change(6, "a")) == [change(6, "a")]


def test_what_is_there_is_told_anew_if_it_was_not_told_to_its_end() -> None:
    place = Place(0)
    assert len(take(place, change(0, "a"))) == 1
    assert place.revision == 0
    assert take(place, change(0, "b"), mark(SYNCED, 9)) == [mark(RESET), change(0, "b"), mark(SYNCED, 9)]
    assert take(place, change(10, "b")) == [change(10, "b")]


def test_nothing_is_void_if_nothing_was_told() -> None:
    place = Place(0)
    assert take(place) == []
    assert take(place, change(0, "a"), mark(SYNCED, 9)) == [change(0, "a"), mark(SYNCED, 9)]


def test_a_reset_begins_anew_and_is_told_once() -> None:
    place = Place(5)
    assert len(take(place, change(5, "a"), mark(RESET), change(0, "b"))) == 3
    assert place.revision == 0
    again = [mark(RESET), change(0, "c"), mark(SYNCED, 3), change(4, "a")]
    assert take(place, *again) == again
    assert place.revision == 4


class FakeRegistry:
    """Answers each Watch with the next of its streams, which end with UNAVAILABLE or, the last, wait."""

    def __init__(self, *streams: list[CatalogueEvent]) -> None:
        self.streams = list(streams)
        self.asked: list[tuple[int, str]] = []
        self.refused = 0
        self.left = asyncio.Event()

    async def Watch(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        if self.refused:
            self.refused -= 1
            raise UnavailableError("etcd is away", retry_after_s=0.01)
        if request.start_revision < 0:
            raise InvalidInputError("start_revision: expected 0 or more")
        self.asked.append((request.start_revision, request.name_prefix))
        await context.send_initial_metadata(())
        try:
            for event in self.streams.pop(0):
                yield convert.event_to_pb(event)
            if not self.streams:
                await asyncio.Event().wait()
        finally:
            self.left.set()
        raise UnavailableError("this server is stopping", retry_after_s=0.01)

    @contextlib.asynccontextmanager
    async def serve(self, **options: Any) -> AsyncIterator[Client]:
        server = Server("fake")
        server.add(pb.DESCRIPTOR.services_by_name["Registry"], self)
        async with Client(await server.start("127.0.0.1:0"), **options) as client:
            yield client
        await server.stop(0)


async def test_a_watch_goes_on_from_where_it_broke() -> None:
    a, b = change(6, "a"), change(6, "b")
    registry = FakeRegistry([change(5, "a"), a], [], [a, b], [b, change(7, "a")])
    async with registry.serve() as client, contextlib.aclosing(client.watch(5, "x")) as events:
        seen = [await anext(events) for _ in range(4)]
        assert seen == [change(5, "a"), a, b, change(7, "a")]
        assert registry.asked == [(5, "x"), (6, "x"), (6, "x"), (6, "x")]
        assert client.revision == 7


@pytest.fixture
def delays(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was to be waited before each attempt, which comes at once, but as late as if that had been done."""
    found: list[float] = []
    true_delay_s = Attempts.delay_s

    def delay_s(attempts: Attempts, error: ModelyardError) -> float:
        found.append(true_delay_s(attempts, error))
        attempts._ends_s -= found[-1]
        return 0.0

    monkeypatch.setattr(Attempts, "delay_s", delay_s)
    return found


async def test_what_breaks_again_and_again_but_is_accepted_is_no_failure(delays: list[float]) -> None:
    registry = FakeRegistry(*[[] for _ in range(60)], [change(5)])
    async with registry.serve(timeout_s=10) as client:
        assert await anext(client.watch(5)) == change(5)
    assert len(registry.asked) == 61
    assert sum(delays) > 10


async def test_only_an_answer_makes_delays_short_again(delays: list[float]) -> None:
    streams = [*([] for _ in range(10)), [change(5)], [], [change(6)]]
    async with FakeRegistry(*streams).serve() as client, contextlib.aclosing(client.watch(5)) as events:
        assert [await anext(events) for _ in range(2)] == [change(5), change(6)]
    assert len(delays) == 12
    assert delays[9] >= MAX_DELAY_S / 2
    assert delays[10] <= FIRST_DELAY_S


async def test_it_is_an_error_if_it_is_not_accepted_in_time() -> None:
    registry = FakeRegistry([change(5)], [])
    async with registry.serve(timeout_s=0.3) as client:
        events = client.watch(5)
        await anext(events)
        registry.refused = 10_000
        with pytest.raises(UnavailableError, match="etcd is away"):
            await anext(events)


async def test_nothing_answers(unused_tcp_port: int) -> None:
    async with Client(f"127.0.0.1:{unused_tcp_port}", timeout_s=0.05) as client:
        with pytest.raises(UnavailableError, match="nothing answers"):
            await anext(client.watch())


async def test_a_bad_request_is_an_error() -> None:
    async with FakeRegistry([]).serve() as client:
        with pytest.raises(InvalidInputError):
            await anext(client.watch(-1))


@pytest.mark.parametrize("leave", [Client.__aexit__, None])
async def test_who_leaves_ends_the_watch(leave: Callable[..., Any] | None) -> None:
    registry = FakeRegistry([change(5)])
    async with registry.serve() as client:
        events = client.watch(5)
        assert await anext(events) == change(5)
        await (leave(client, None, None, None) if leave else events.aclose())
        await asyncio.wait_for(registry.left.wait(), 30)


async def test_the_synchronous_client_watches_too() -> None:
    registry = FakeRegistry([change(5), change(6, "a@1")], [change(6, "a@1"), change(7, "a:x")])

    def watch(address: str) -> tuple[list[CatalogueEvent], int]:
        with sync.Client(address) as client:
            events = client.watch(5)
            return [next(events) for _ in range(3)], client.revision

    async with registry.serve() as client:
        found = await asyncio.to_thread(watch, client._connection.address)
    assert found == ([change(5), change(6, "a@1"), change(7, "a:x")], 7)
    await eventually(registry.left.is_set)
