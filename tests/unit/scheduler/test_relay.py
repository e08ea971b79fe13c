"""The relay: a service behind it behaves as one that is called directly."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import grpc
import grpc.aio
import pytest

from modelyard.deployment import Member
from modelyard.errors import DataLossError, ExhaustedError, UnavailableError
from modelyard.rpc.channel import Stub, open_channel
from modelyard.rpc.replicas import Replicas
from modelyard.rpc.server import Server
from modelyard.rpc.status import REVISION_KEY, error_of, revision_of
from modelyard.v1 import registry_pb2 as pb
from modelyard_scheduler.frontdoor.relay import Relay
from modelyard_scheduler.peers import addresses_of
from tests.waiting import eventually

SERVICE = pb.DESCRIPTOR.services_by_name["Registry"]


class Backend:
    """A registry of a few methods, which notes what it sees."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.metadata: dict[str, str | bytes] = {}
        self.left_s: float | None = None
        self.received: list[int] = []
        self.cancelled = asyncio.Event()
        self.waiting = asyncio.Event()

    async def GetModel(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.metadata = dict(context.invocation_metadata())
        self.left_s = context.time_remaining()
        if request.name == "fresh":
            await context.send_initial_metadata((("first", "x"),))
            context.set_trailing_metadata(((REVISION_KEY, "17"), ("trace-bin", b"\x00\xff")))
        if request.name == "full":
            context.set_trailing_metadata(((REVISION_KEY, "18"),))
            raise ExhaustedError("no room", retry_after_s=1.5)
        if request.name == "cancelled":
            await context.abort(grpc.StatusCode.CANCELLED, "stopping")
        if request.name == "slow":
            await self._wait()
        return pb.Model(name=request.name, description=self.name)

    async def _wait(self) -> None:
        self.waiting.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def UploadChunks(self, requests: Any, context: Any) -> Any:  # noqa: N802
        bad = False
        # Read to the end, as the registry does: grpc.aio's client loses a status that comes while it writes.
        async for part in requests:
            self.received.append(len(part.data))
            bad = bad or part.data == b"bad"
        if bad:
            raise DataLossError("not what was announced")
        return pb.UploadChunksResponse()

    async def DownloadChunks(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        for digest in request.digests:
            if digest == "wait":
                await self._wait()
            yield pb.DownloadChunksResponse(data=digest.encode())

    async def Watch(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        await context.send_initial_metadata(())
        await self._wait()
        yield pb.WatchResponse()


class Suite:
    """Backends and a relay before them; `members` are those announced."""

    def __init__(self) -> None:
        self.members: dict[str, Member] = {}
        self.backends: dict[str, Backend] = {}
        self.servers: dict[str, Server] = {}
        self.replicas = Replicas("registry", lambda: addresses_of(self.members))

    async def add(self, name: str) -> Backend:
        self.backends[name] = Backend(name)
        self.servers[name] = Server(name)
        self.servers[name].add(SERVICE, self.backends[name])
        self.members[name] = Member(name, await self.servers[name].start("127.0.0.1:0"))
        return self.backends[name]

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[Any]:
        front = Server("front")
        front.add_generic(SERVICE, Relay(SERVICE.full_name, self.replicas))
        async with open_channel(await front.start("127.0.0.1:0")) as channel:
            yield Stub(channel, SERVICE)
        await front.stop(0)
        for server in self.servers.values():
            await server.stop(0)
        await self.replicas.close()


@pytest.fixture
def suite() -> Suite:
    return Suite()


async def test_all_kinds_of_calls_pass(suite: Suite) -> None:
    backend = await suite.add("r0")
    async with suite.serve() as stub:
        assert (await stub.GetModel(pb.GetModelRequest(name="m"))).description == "r0"
        parts = (pb.UploadChunksRequest(data=b"x" * size) for size in (1, 2, 3))
        await stub.UploadChunks(parts)
        assert backend.received == [1, 2, 3]
        digests = [f"{i}" for i in range(500)]
        answers = [a.data.decode() async for a in stub.DownloadChunks(pb.DownloadChunksRequest(digests=digests))]
        assert answers == digests


async def test_metadata_passes_and_the_deadline_is_what_is_left(suite: Suite) -> None:
    backend = await suite.add("r0")
    async with suite.serve() as stub:
        metadata = (("modelyard-tenant", "acme"), ("trace-bin", b"\x00\xff\x80"), ("grpc-custom", "x"))
        await stub.GetModel(pb.GetModelRequest(name="m"), metadata=metadata, timeout=20)
        assert backend.metadata["modelyard-tenant"] == "acme"
        assert backend.metadata["trace-bin"] == b"\x00\xff\x80"
        assert "grpc-custom" not in backend.metadata
        assert backend.left_s is not None
        assert 0 < backend.left_s < 25
        await stub.GetModel(pb.GetModelRequest(name="m"))
        assert backend.left_s is None or backend.left_s > 1e6


async def test_an_error_passes_with_its_name_and_its_retry_delay(suite: Suite) -> None:
    await suite.add("r0")
    async with suite.serve() as stub:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetModel(pb.GetModelRequest(name="full"))
        error = error_of(caught.value)
        assert (type(error), error.message, error.retry_after_s) == (ExhaustedError, "no room", 1.5)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.UploadChunks(iter([pb.UploadChunksRequest(data=b"bad")] * 3))
        assert isinstance(error_of(caught.value), DataLossError)


async def test_metadata_of_answers_passes(suite: Suite) -> None:
    await suite.add("r0")
    async with suite.serve() as stub:
        call = stub.GetModel(pb.GetModelRequest(name="fresh"))
        assert dict(await call.initial_metadata())["first"] == "x"
        assert (await call).name == "fresh"
        trailers = dict(await call.trailing_metadata())
        assert (trailers[REVISION_KEY], trailers["trace-bin"]) == ("17", b"\x00\xff")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetModel(pb.GetModelRequest(name="full"))
        assert revision_of(caught.value.trailing_metadata()) == 18


async def test_a_stream_that_has_nothing_to_say_yet_is_accepted(suite: Suite) -> None:
    backend = await suite.add("r0")
    async with suite.serve() as stub:
        watch = stub.Watch(pb.WatchRequest())
        await asyncio.wait_for(watch.initial_metadata(), 30)
        assert not watch.done()
        watch.cancel()
        await asyncio.wait_for(backend.cancelled.wait(), 30)


async def test_a_front_door_that_stops_ends_watches(suite: Suite) -> None:
    await suite.add("r0")
    front = Server("front", lasting=["/modelyard.v1.Registry/Watch"])
    front.add_generic(SERVICE, Relay(SERVICE.full_name, suite.replicas))
    async with suite.serve(), open_channel(await front.start("127.0.0.1:0")) as channel:
        watch = Stub(channel, SERVICE).Watch(pb.WatchRequest())
        await watch.initial_metadata()
        await front.stop(60)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await watch.read()
        assert error_of(caught.value).message == "this server is stopping"
        assert isinstance(error_of(caught.value), UnavailableError)


class Slowly:
    """The context of a call whose metadata are being sent until `go`."""

    def __init__(self) -> None:
        self.sending, self.go = asyncio.Event(), asyncio.Event()
        self.sent = False

    def invocation_metadata(self) -> tuple[()]:
        return ()

    def time_remaining(self) -> None:
        return None

    async def send_initial_metadata(self, metadata: Any) -> None:
        self.sending.set()
        await self.go.wait()
        self.sent = True


async def test_metadata_that_are_being_sent_are_sent_before_the_call_is_ended(suite: Suite) -> None:
    await suite.add("r0")
    context, details = Slowly(), SimpleNamespace(method="/modelyard.v1.Registry/Watch")
    async with suite.serve():
        relayed = Relay(SERVICE.full_name, suite.replicas).service(details).stream_stream(_once(b""), context)
        reading = asyncio.ensure_future(anext(relayed))
        await asyncio.wait_for(context.sending.wait(), 30)
        reading.cancel()
        await asyncio.sleep(0)
        context.go.set()
        await asyncio.wait([reading], timeout=30)
        assert reading.cancelled()
        assert context.sent


async def _once(message: bytes) -> AsyncIterator[bytes]:
    yield message


async def test_a_client_that_leaves_cancels_the_call_behind_the_relay(suite: Suite) -> None:
    backend = await suite.add("r0")
    async with suite.serve() as stub:
        call = stub.GetModel(pb.GetModelRequest(name="slow"))
        await asyncio.wait_for(backend.waiting.wait(), 30)
        call.cancel()
        await asyncio.wait_for(backend.cancelled.wait(), 30)


async def test_a_deadline_ends_the_call_behind_the_relay_too(suite: Suite) -> None:
    backend = await suite.add("r0")
    async with suite.serve() as stub:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetModel(pb.GetModelRequest(name="slow"), timeout=0.3)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await asyncio.wait_for(backend.cancelled.wait(), 30)


async def test_a_backend_that_dies_or_cancels_is_unavailable(suite: Suite) -> None:
    backend = await suite.add("r0")
    async with suite.serve() as stub:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetModel(pb.GetModelRequest(name="cancelled"))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        answers = stub.DownloadChunks(pb.DownloadChunksRequest(digests=["a", "wait"]))
        assert (await answers.read()).data == b"a"
        await asyncio.wait_for(backend.waiting.wait(), 30)
        await suite.servers["r0"].stop(0)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await answers.read()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_calls_go_to_the_replicas_in_turn(suite: Suite) -> None:
    await suite.add("r0")
    await suite.add("r1")
    async with suite.serve() as stub:

        async def asked() -> str:
            return str((await stub.GetModel(pb.GetModelRequest(name="m"))).description)

        seen: set[str] = set()

        async def both() -> bool:
            seen.add(await asked())
            return seen == {"r0", "r1"}

        await eventually(both)
        assert sorted([await asked() for _ in range(10)]) == ["r0"] * 5 + ["r1"] * 5


async def test_a_dead_replica_is_passed_over(suite: Suite) -> None:
    await suite.add("r0")
    await suite.add("r1")
    async with suite.serve() as stub:
        await suite.servers["r0"].stop(0)
        answers = [(await stub.GetModel(pb.GetModelRequest(name="m"))).description for _ in range(10)]
        assert answers == ["r1"] * 10


async def test_no_replica_is_unavailable_and_says_so(suite: Suite) -> None:
    async with suite.serve() as stub:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetModel(pb.GetModelRequest(name="m"))
        assert (caught.value.code(), caught.value.details()) == (
            grpc.StatusCode.UNAVAILABLE,
            "no registry is live",
        )


async def test_a_replica_whose_key_vanished_is_used_on_while_there_is_no_other(suite: Suite) -> None:
    backend = await suite.add("r0")
    async with suite.serve() as stub:
        download = stub.DownloadChunks(pb.DownloadChunksRequest(digests=["a", "wait"]))
        await download.read()
        await asyncio.wait_for(backend.waiting.wait(), 30)
        suite.members.clear()
        assert (await stub.GetModel(pb.GetModelRequest(name="m"))).description == "r0"
        assert not backend.cancelled.is_set()
        await suite.add("r1")
        await eventually(lambda: _answered_by(stub, "r1"))
        assert not backend.cancelled.is_set()
        download.cancel()


async def _answered_by(stub: Any, name: str) -> bool:
    return bool((await stub.GetModel(pb.GetModelRequest(name="m"))).description == name)


async def test_a_channel_is_opened_once_for_each_address(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def noted(address: str) -> grpc.aio.Channel:
        opened.append(address)
        return open_channel(address)

    monkeypatch.setattr("modelyard.rpc.replicas.open_channel", noted)
    await suite.add("r0")
    async with suite.serve() as stub:
        await asyncio.gather(*(stub.GetModel(pb.GetModelRequest(name="m")) for _ in range(20)))
        assert opened == [suite.members["r0"].address]
