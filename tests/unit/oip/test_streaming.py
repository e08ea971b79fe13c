from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest

from modelyard.errors import InvalidInputError, UnavailableError
from modelyard.oip import messages, streaming
from modelyard.oip.streaming import StreamedCalls
from modelyard.rpc.status import MAX_DETAILS_BYTES
from tests.waiting import eventually


def request(request_id: str = "", sequence: int = 0, tensor: bytes = b"", final: bool = False) -> bytes:
    made = messages.ModelInferRequest(model_name="m", id=request_id)
    if sequence:
        made.parameters["sequence_id"].int64_param = sequence
    if final:
        made.parameters["triton_enable_empty_final_response"].bool_param = True
    if tensor:
        made.raw_input_contents.append(tensor)
    return made.SerializeToString()


class Model:
    """Answers a call with its id, once that is let go; notes what it is asked, and what is cancelled."""

    def __init__(self, *held: str) -> None:
        self.gates = {name: asyncio.Event() for name in held}
        self.begun: list[str] = []
        self.cancelled: list[str] = []
        self.timeouts_s: list[float | None] = []
        self.changed = asyncio.Condition()

    async def infer(self, data: bytes, timeout_s: float | None) -> bytes:
        try:
            asked = messages.ModelInferRequest.FromString(data)
        except Exception:
            raise InvalidInputError("no request") from None
        self.timeouts_s.append(timeout_s)
        self.begun.append(asked.id)
        async with self.changed:
            self.changed.notify_all()
        try:
            if asked.id in self.gates:
                await self.gates[asked.id].wait()
        except asyncio.CancelledError:
            self.cancelled.append(asked.id)
            raise
        if asked.id == "bug":
            raise ZeroDivisionError
        return messages.ModelInferResponse(model_name="m", id=asked.id).SerializeToString()

    async def has_begun(self, count: int) -> list[str]:
        async with self.changed:
            await asyncio.wait_for(self.changed.wait_for(lambda: len(self.begun) >= count), 60)
        return self.begun


class Conversation:
    """A stream: say requests, hear answers."""

    def __init__(self, model: Model, timeout_s: float | None = None) -> None:
        self._requests: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.stopping = asyncio.Event()
        self.read = 0
        self.ended = False
        calls = StreamedCalls(model.infer, timeout_s, self.stopping)
        self.answers: AsyncGenerator[bytes, None] = calls.answers(self._said())

    async def _said(self) -> AsyncIterator[bytes]:
        while (said := await self._requests.get()) is not None:
            self.read += 1
            yield said
        self.ended = True

    def say(self, *requests: bytes) -> Conversation:
        for one in requests:
            self._requests.put_nowait(one)
        return self

    def end(self) -> Conversation:
        self._requests.put_nowait(None)
        return self

    async def hear(self) -> messages.ModelStreamInferResponse:
        return messages.ModelStreamInferResponse.FromString(await asyncio.wait_for(anext(self.answers), 60))

    async def rest(self) -> list[messages.ModelStreamInferResponse]:
        return [messages.ModelStreamInferResponse.FromString(answer) async for answer in self.answers]


def ids(answers: list[messages.ModelStreamInferResponse]) -> list[str]:
    return [answer.infer_response.id for answer in answers]


async def test_calls_are_answered_when_they_are_done() -> None:
    model = Model("a", "c")
    talk = Conversation(model).say(request("a"), request("b"), request("c")).end()
    assert (await talk.hear()).infer_response.id == "b"
    model.gates["c"].set()
    assert (await talk.hear()).infer_response.id == "c"
    model.gates["a"].set()
    assert ids(await talk.rest()) == ["a"]


async def test_a_stream_without_calls_ends() -> None:
    assert await Conversation(Model()).end().rest() == []


async def test_a_bad_message_is_answered_with_its_id_and_the_stream_goes_on() -> None:
    async def infer(data: bytes, timeout_s: float | None) -> bytes:
        if messages.ModelInferRequest.FromString(data).id == "bad":
            raise InvalidInputError("input 'x': expected a shape")
        return data

    async def said() -> AsyncIterator[bytes]:
        yield request("bad")
        yield request("good")

    calls = StreamedCalls(infer, None, asyncio.Event())
    answers = [messages.ModelStreamInferResponse.FromString(answer) async for answer in calls.answers(said())]
    by_id = {answer.infer_response.id: answer for answer in answers}
    assert by_id["bad"].error_message == "input 'x': expected a shape"
    assert by_id["bad"].infer_response.parameters["modelyard-error"].string_param == "InvalidInputError"
    assert by_id["good"].error_message == ""


async def test_what_is_no_request_at_all_is_answered() -> None:
    answers = await Conversation(Model()).say(b"\xff\xff", request("b")).end().rest()
    assert sorted((a.infer_response.id, a.error_message) for a in answers) == [("", "no request"), ("b", "")]


async def test_an_unforeseen_error_is_logged_and_says_nothing_of_us(caplog: pytest.LogCaptureFixture) -> None:
    (answer,) = await Conversation(Model()).say(request("bug")).end().rest()
    assert answer.error_message.startswith("internal error, request id ")
    assert "ZeroDivision" not in answer.error_message
    assert "ZeroDivisionError" in caplog.text


async def test_calls_of_one_sequence_keep_their_order() -> None:
    model = Model("a")
    talk = Conversation(model).say(request("a", 7), request("b", 7), request("c", 8), request("d")).end()
    first = [await talk.hear(), await talk.hear()]
    assert sorted(ids(first)) == ["c", "d"]
    assert model.begun == ["a", "c", "d"]
    model.gates["a"].set()
    assert ids(await talk.rest()) == ["a", "b"]


async def test_a_final_response_is_marked_where_that_is_asked_for() -> None:
    answers = await Conversation(Model()).say(request("a", final=True), request("b")).end().rest()
    marked = {a.infer_response.id: dict(a.infer_response.parameters) for a in answers}
    assert marked["a"]["triton_final_response"].bool_param
    assert marked["b"] == {}


async def test_calls_get_what_is_left_of_the_deadline() -> None:
    model = Model()
    await Conversation(model, 5.0).say(request("a")).end().rest()
    await Conversation(model).say(request("b")).end().rest()
    with_deadline, without = model.timeouts_s
    assert with_deadline is not None
    assert 0 < with_deadline <= 5.0
    assert without is None


async def test_leaving_the_stream_cancels_its_calls() -> None:
    model = Model("a", "c")
    talk = Conversation(model).say(request("a"), request("b"), request("c", 7), request("d", 7))
    assert (await talk.hear()).infer_response.id == "b"
    await model.has_begun(3)
    await talk.answers.aclose()
    assert sorted(model.cancelled) == ["a", "c"]
    assert "d" not in model.begun


async def test_no_more_calls_are_read_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "MAX_CALLS", 3)
    model = Model(*"abcdef")
    talk = Conversation(model).say(*(request(name) for name in "abcdef")).end()
    hearing = asyncio.ensure_future(talk.hear())
    await model.has_begun(3)
    assert (model.begun, talk.read) == (["a", "b", "c"], 3)
    model.gates["b"].set()
    assert (await hearing).infer_response.id == "b"
    assert talk.read == 3  # an answer counts until it has been sent
    for gate in model.gates.values():
        gate.set()
    assert sorted(ids(await talk.rest())) == list("acdef")


async def test_no_more_bytes_are_read_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "MAX_BYTES", 1000)
    model = Model(*"abcd")
    talk = Conversation(model).say(*(request(name, tensor=bytes(600)) for name in "abcd")).end()
    hearing = asyncio.ensure_future(talk.rest())
    assert await model.has_begun(2) == ["a", "b"]
    assert talk.read == 2
    for gate in model.gates.values():
        gate.set()
    assert sorted(ids(await hearing)) == list("abcd")


async def test_a_server_that_stops_finishes_what_is_under_way() -> None:
    model = Model("a")
    talk = Conversation(model).say(request("a"))
    hearing = asyncio.ensure_future(talk.hear())
    await model.has_begun(1)
    talk.stopping.set()
    model.gates["a"].set()
    assert (await hearing).infer_response.id == "a"
    with pytest.raises(UnavailableError, match="stopping"):
        await talk.rest()


async def test_a_failure_of_the_client_ends_the_stream() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield request("a")
        raise ConnectionError

    answers: Any = StreamedCalls(Model().infer, None, asyncio.Event()).answers(broken())
    assert ids([messages.ModelStreamInferResponse.FromString(await anext(answers))]) == ["a"]
    with pytest.raises(ConnectionError):
        await anext(answers)


async def test_a_client_that_ended_and_was_answered_in_full_does_not_hear_that_the_server_stops() -> None:
    model = Model("a")
    talk = Conversation(model).say(request("a")).end()
    hearing = asyncio.ensure_future(talk.rest())
    await model.has_begun(1)
    await eventually(lambda: talk.ended)
    talk.stopping.set()
    model.gates["a"].set()
    assert ids(await hearing) == ["a"]


async def test_of_a_sequence_nothing_is_left_when_the_stream_is_left() -> None:
    model = Model("a")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        talk = Conversation(model).say(request("a", 7), request("b", 7), request("c", 7))
        hearing = asyncio.ensure_future(talk.hear())
        await model.has_begun(1)
        hearing.cancel()
        await asyncio.wait([hearing])
        await talk.answers.aclose()
        del talk, hearing
        gc.collect()
    assert [str(warning.message) for warning in caught] == []


async def test_a_message_that_is_no_text_is_answered_all_the_same() -> None:
    async def infer(data: bytes, timeout_s: float | None) -> bytes:
        raise InvalidInputError("bad \udcff byte" + "x" * 10_000)

    async def said() -> AsyncIterator[bytes]:
        yield request("a")

    answers = StreamedCalls(infer, None, asyncio.Event()).answers(said())
    failed = messages.ModelStreamInferResponse.FromString(await asyncio.wait_for(anext(answers), 60))
    assert failed.error_message.startswith("bad ? byte")
    assert len(failed.error_message) == MAX_DETAILS_BYTES


async def test_a_call_is_answered_even_if_its_failure_cannot_be_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "_failure", lambda *said: 1 // 0)
    (answer,) = await asyncio.wait_for(Conversation(Model()).say(request("bug")).end().rest(), 60)
    assert answer.error_message == "internal error"
