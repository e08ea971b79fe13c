"""Frames over a real connection: whole, in order, within bounds, and never silent."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator, Callable

import pytest

from modelyard.rpc import frames as frames_module
from modelyard.rpc.frames import BUFFER_BYTES, JOINED_BYTES, SILENT_BEATS, Buffer, Frames
from tests.waiting import eventually


class End:
    """One end of a connection, and what came."""

    def __init__(self, **options: int) -> None:
        self.came: list[bytes] = []
        self.frames = Frames(lambda frame: self.came.append(bytes(frame)), **options)  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def connected(here: Callable[[], End] = End, there: Callable[[], End] = End) -> AsyncIterator[tuple[End, End]]:
    loop = asyncio.get_running_loop()
    ends: list[End] = []

    def accept() -> Frames:
        ends.append(there())
        return ends[0].frames

    server = await loop.create_server(accept, "127.0.0.1", 0)
    end = here()
    await loop.create_connection(lambda: end.frames, "127.0.0.1", server.sockets[0].getsockname()[1])
    await eventually(lambda: ends)
    try:
        yield end, ends[0]
    finally:
        end.frames.abort("")
        ends[0].frames.abort("")
        server.close()


@contextlib.asynccontextmanager
async def raw(there: Callable[[], End] = End) -> AsyncIterator[tuple[socket.socket, End]]:
    """A plain socket, blocking, and the end that it is connected to."""
    ours, theirs = socket.socketpair()
    end = there()
    with ours:
        await asyncio.get_running_loop().create_connection(lambda: end.frames, sock=theirs)
        yield ours, end
        end.frames.abort("")


SIZES = [1, 2, 3, JOINED_BYTES - 1, JOINED_BYTES, JOINED_BYTES + 1]
SIZES += [BUFFER_BYTES - 5, BUFFER_BYTES - 4, BUFFER_BYTES - 3, BUFFER_BYTES, BUFFER_BYTES + 1, 3 << 20]


async def test_frames_of_any_size_come_whole_and_in_order() -> None:
    sizes = random.Random(1).choices(SIZES, k=100)
    sent = [random.Random(size).randbytes(size) for size in sizes]
    async with connected() as (here, there):
        for frame in sent:
            cut = len(frame) // 3
            here.frames.send((frame[:cut], memoryview(frame)[cut:]))
        await eventually(lambda: len(there.came) == len(sent))
        assert there.came == sent
        there.frames.send((b"back",))
        await eventually(lambda: here.came == [b"back"])


@pytest.mark.parametrize("step", [1, 2, 3, 5, 1000])
async def test_frames_may_come_in_any_pieces(step: int) -> None:
    frames = [b"a", b"", b"bc" * 300, b"", b"d"]
    data = b"".join(len(f).to_bytes(4, "big") + f for f in frames)
    async with raw() as (ours, end):
        for begin in range(0, len(data), step):
            ours.sendall(data[begin : begin + step])
            await asyncio.sleep(0)
        await eventually(lambda: end.came == [b"a", b"bc" * 300, b"d"])


async def test_a_frame_that_is_too_long_closes_the_connection() -> None:
    async with raw(lambda: End(max_bytes=100)) as (ours, end):
        ours.sendall((100).to_bytes(4, "big") + b"x" * 100 + (101).to_bytes(4, "big"))
        assert await end.frames.closed == "expected frames of at most 100 bytes, got one of 101"
        assert end.came == [b"x" * 100]


async def test_what_speaks_another_protocol_is_hung_up_on() -> None:
    async with raw() as (ours, end):
        ours.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert (await end.frames.closed).startswith("expected frames of at most")


async def test_a_peer_that_closes_and_one_that_breaks_off() -> None:
    async with connected() as (here, there):
        there.frames.send((b"last",))
        there.frames.close()
        assert await here.frames.closed == ""
        assert here.came == [b"last"]
    async with connected() as (here, there):
        here.frames.abort("no more")
        assert await here.frames.closed == "no more"
        await there.frames.closed
    here.frames.send((b"late",))  # goes nowhere, and harms nothing
    assert there.came == []


async def test_nothing_is_handed_on_after_the_close() -> None:
    def receive(_: Buffer) -> None:
        came.append(1)
        end.close("enough")

    came: list[int] = []
    end = Frames(receive)
    ours, theirs = socket.socketpair()
    with ours:
        await asyncio.get_running_loop().create_connection(lambda: end, sock=theirs)
        ours.sendall(b"\0\0\0\1a\0\0\0\1b")
        await eventually(lambda: came)
        ours.close()
        assert await end.closed == "enough"
    assert came == [1]


async def test_what_was_sent_before_the_close_comes_although_the_peer_was_still_sending() -> None:
    async with connected() as (here, there):
        here.frames.send((b"not read before the close",))
        there.frames.send((b"last",))
        there.frames.close()
        await asyncio.sleep(0)
        here.frames.send((b"sent after it",))
        assert await here.frames.closed == ""
        assert await there.frames.closed == ""
        assert here.came == [b"last"]


async def test_a_close_ends_although_the_peer_beats_and_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames_module, "BEAT_S", 0.01)
    async with raw() as (ours, end):
        while end.frames.writable:
            end.frames.send((b"x" * BUFFER_BYTES,))
        end.frames.close()
        assert not end.frames.writable
        while not end.frames.closed.done():
            with contextlib.suppress(ConnectionError):
                ours.sendall(bytes(4))
            await asyncio.sleep(0.001)


async def test_what_is_closed_takes_nothing_more_and_keeps_no_memory() -> None:
    async with raw() as (ours, end):
        ours.sendall((3 << 20).to_bytes(4, "big"))
        await eventually(lambda: end.frames._large is not None)
        end.frames.abort("enough")
        assert not end.frames.writable
        assert not await end.frames.flushed()
        await end.frames.closed
        assert end.frames._large is None
        assert not len(end.frames._view)


async def test_a_peer_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames_module, "BEAT_S", 0.01)
    async with raw() as (ours, end):
        assert await end.frames.closed == "nothing was heard of it for 0.02 s"
        assert ours.recv(100) == bytes(8)  # it had beaten twice itself


async def test_a_peer_that_has_nothing_to_say_beats() -> None:
    async with connected() as (here, there):
        for _ in range(10):
            here.frames._on_beat()
            there.frames._on_beat()
            await eventually(lambda: here.frames._silence == there.frames._silence == 0)
        assert here.came == there.came == []  # beats are not handed on
        for _ in range(SILENT_BEATS + 1):
            here.frames._on_beat()
        assert here.frames._reason


async def test_a_peer_that_is_slowly_sending_is_not_silent() -> None:
    async with raw() as (ours, end):
        ours.sendall((30).to_bytes(4, "big"))
        for _ in range(30):
            end.frames._on_beat()
            end.frames._on_beat()
            ours.sendall(b"x")
            await eventually(lambda: end.frames._silence == 0)
        await eventually(lambda: end.came == [b"x" * 30])


async def test_who_has_spoken_need_not_beat() -> None:
    async with raw() as (ours, end):
        end.frames.send((b"x",))
        end.frames._on_beat()
        end.frames._on_beat()
        await end.frames.flushed()
        assert ours.recv(100) == b"\0\0\0\1x" + bytes(4)


async def test_a_peer_that_does_not_read_pauses_the_sender_until_it_does() -> None:
    resumed = asyncio.Event()
    sender = Frames(lambda _: None, on_writable=resumed.set)
    ours, theirs = socket.socketpair()
    with ours:
        await asyncio.get_running_loop().create_connection(lambda: sender, sock=theirs)
        sent = 0
        while sender.writable:
            sender.send((b"x" * JOINED_BYTES,))
            sent += JOINED_BYTES + 4
            await asyncio.sleep(0)
        flushing = asyncio.ensure_future(sender.flushed())
        assert not resumed.is_set()
        ours.setblocking(False)
        while sent:
            sent -= len(await asyncio.get_running_loop().sock_recv(ours, 1 << 20))
        await resumed.wait()
        assert sender.writable
        assert await flushing
        sender.abort("")
        assert not await sender.flushed()
