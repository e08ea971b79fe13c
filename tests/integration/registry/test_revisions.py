"""Answers that are as new as was asked: of etcd itself, and of indexes that lag behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import grpc.aio
import pytest

from modelyard import keys
from modelyard.aio import Client
from modelyard.catalogue import Model
from modelyard.deployment import Member
from modelyard.errors import DeadlineError, InvalidInputError, PreconditionError, UnavailableError
from modelyard.etcd import Change, Delete, Etcd, Listing
from modelyard.rpc.replicas import Replicas
from modelyard.rpc.revision import MAX_REVISION, RevisionInterceptor
from modelyard.rpc.server import Server
from modelyard.rpc.status import MIN_REVISION_KEY, error_of, revision_of
from modelyard.tasks import background
from modelyard.v1 import registry_pb2 as pb
from modelyard_registry.catalogue import Catalogue
from modelyard_registry.search import discovery as discovery_module
from modelyard_registry.search.discovery import Discovery
from modelyard_registry.search.feed import Feed
from modelyard_registry.servicer.discovery import DiscoveryMethods
from modelyard_registry.servicer.freshness import Freshness
from modelyard_registry.servicer.models import ModelMethods
from modelyard_scheduler.frontdoor.relay import Relay
from modelyard_scheduler.peers import addresses_of
from tests.integration.registry.remote import Remote
from tests.integration.registry.watching import put, version
from tests.waiting import eventually

SERVICE = pb.DESCRIPTOR.services_by_name["Registry"]


class HeldEtcd(Etcd):
    """Tells who follows it of no revision after `upto`."""

    def __init__(self, endpoints: str) -> None:
        super().__init__(endpoints)
        self.upto = MAX_REVISION

    async def follow(self, prefix: str, listed: str = "") -> AsyncGenerator[Listing | Change, None]:
        async for event in super().follow(prefix, listed):
            await eventually(partial(self._tells, event), 600)
            yield event

    def _tells(self, event: Listing | Change) -> bool:
        return event.revision <= self.upto


class Replica(ModelMethods, DiscoveryMethods):
    """A registry's models and discovery in this process; its index can be held back."""

    def __init__(self, endpoint: str) -> None:
        self.etcd = HeldEtcd(endpoint)
        self.discovery = Discovery(self.etcd)
        ModelMethods.__init__(self, Catalogue(self.etcd, 60.0).models)
        DiscoveryMethods.__init__(self, self.discovery, Feed(self.etcd))

    async def start(self, stack: AsyncExitStack) -> str:
        stack.push_async_callback(self.etcd.close)
        reach = Freshness(self.etcd, self.discovery).reach
        server = Server("replica", interceptors=[RevisionInterceptor(reach)])
        server.add(SERVICE, self)
        address = await server.start("127.0.0.1:0")
        stack.push_async_callback(server.stop, 0)
        await stack.enter_async_context(background(self.discovery.run()))
        await eventually(lambda: self.discovery.revision)
        return address

    def has_come_to(self, revision: int) -> bool:
        return self.discovery.revision == revision

    def hold(self) -> None:
        self.etcd.upto = 0

    def release(self, upto: int = MAX_REVISION) -> None:
        self.etcd.upto = upto


class Pair:
    """Two replicas, a client of each, and one of both, through a relay; m@1 is there and waits for its model."""

    def __init__(self, endpoint: str) -> None:
        self.replicas = [Replica(endpoint), Replica(endpoint)]
        self.clients: list[Client] = []

    async def start(self, stack: AsyncExitStack) -> None:
        addresses = [await replica.start(stack) for replica in self.replicas]
        members = {address: Member(address, address) for address in addresses}
        relayed = Replicas("registry", lambda: addresses_of(members))
        stack.push_async_callback(relayed.close)
        front = Server("front")
        front.add_generic(SERVICE, Relay(SERVICE.full_name, relayed))
        addresses.append(await front.start("127.0.0.1:0"))
        stack.push_async_callback(front.stop, 0)
        self.clients = [await stack.enter_async_context(Client(address)) for address in addresses]


@pytest.fixture
async def pair(etcd: Etcd) -> AsyncIterator[Pair]:
    await etcd.commit([], [put(version("m", "1"))])
    async with AsyncExitStack() as stack:
        found = Pair(etcd.endpoints)
        await found.start(stack)
        yield found
        for replica in found.replicas:
            replica.release()


async def names(client: Client, **options: Any) -> list[str]:
    return [f"{v.model}@{v.version}" for _, v in await client.search("", **options)]


async def test_who_has_written_finds_it_whichever_replica_answers(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery_module, "WAIT_S", 0.2)
    client = pair.clients[2]
    pair.replicas[1].hold()
    await client.register_model("m")
    for _ in range(6):
        assert await names(client) == ["m@1"]
    assert await names(pair.clients[1]) == []  # who has not written or read it may not find it yet
    pair.replicas[1].release()
    for _ in range(6):
        assert await names(client) == ["m@1"]


async def test_a_search_waits_for_an_index_that_is_behind(pair: Pair, etcd: Etcd) -> None:
    writer, reader, _ = pair.clients
    pair.replicas[1].hold()
    await writer.register_model("m")
    searching = asyncio.create_task(names(reader, at_least=writer.revision))
    await eventually(lambda: etcd.get(keys.FENCE))
    assert not searching.done()
    pair.replicas[1].release()
    assert await asyncio.wait_for(searching, 30) == ["m@1"]
    assert reader.revision >= writer.revision


async def test_an_answer_has_seen_no_more_than_its_index(pair: Pair, etcd: Etcd) -> None:
    writer, reader, _ = pair.clients
    pair.replicas[1].hold()
    await writer.register_model("m")
    asked = writer.revision
    await writer.register_model("m2")
    searching = asyncio.create_task(names(reader, at_least=asked))
    await eventually(lambda: etcd.get(keys.FENCE))
    pair.replicas[1].release(asked)
    assert await asyncio.wait_for(searching, 30) == ["m@1"]
    assert reader.revision == asked


async def test_an_index_that_stays_behind_is_unavailable_in_the_end(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery_module, "WAIT_S", 0.2)
    pair.replicas[1].hold()
    await pair.clients[0].register_model("m")
    with pytest.raises(UnavailableError, match="the index is at revision"):
        await pair.replicas[1].discovery.reach(pair.clients[0].revision)


async def test_the_deadline_comes_first(pair: Pair) -> None:
    writer = pair.clients[0]
    pair.replicas[1].hold()
    await writer.register_model("m")
    async with Client(pair.clients[1]._connection.address, timeout_s=3) as hurried:
        await hurried.model("m")
        with pytest.raises(DeadlineError):
            await hurried.search()


async def test_revisions_that_others_make_are_reached_too(pair: Pair, etcd: Etcd) -> None:
    client = pair.clients[0]
    await client.register_model("m")
    for _ in range(3):
        await etcd.put("/elsewhere", b"")
        await client.model("m")
        assert client.revision > pair.replicas[0].discovery.revision
        assert await asyncio.gather(*(names(client) for _ in range(5))) == [["m@1"]] * 5
    fence = await etcd.get(keys.FENCE)
    assert fence is not None
    assert fence.mod_revision > client.revision - 5
    await etcd.delete("/elsewhere")


async def test_every_change_of_ours_moves_an_index_on(pair: Pair, etcd: Etcd) -> None:
    await etcd.put(keys.worker("w"), b"{}")
    await etcd.commit([], [Delete(keys.worker("w"))])
    newest = await etcd.revision()
    for replica in pair.replicas:
        await eventually(partial(replica.has_come_to, newest))
    assert await etcd.get(keys.FENCE) is None


async def test_an_etcd_that_is_behind_what_was_seen_is_told_once(pair: Pair, etcd: Etcd) -> None:
    client = pair.clients[2]
    await client.register_model("m")
    client._connection.revision += 1000
    with pytest.raises(PreconditionError, match="restored from a backup"):
        await client.search()
    assert await names(client) == ["m@1"]
    with pytest.raises(PreconditionError, match=f"etcd is at revision {await etcd.revision()}, and 1000000"):
        await client.search(at_least=1_000_000)
    assert await names(client) == ["m@1"]


CALLS = [
    ("Search", {}),
    ("GetModel", {"name": "m"}),
    ("ListModels", {}),
    ("GetVersion", {"model": "m", "version": "1"}),
    ("ListVersions", {"model": "m"}),
    ("GetModel", {"name": "absent"}),
    ("RegisterModel", {"name": "m2"}),
]


async def call(registry: Remote, method: str, fields: dict[str, Any], revision: str = "") -> tuple[int, Any]:
    """Return the revision that an answer has seen, and its error."""
    request = getattr(pb, f"{method}Request")(**fields)
    metadata = ((MIN_REVISION_KEY, revision),) if revision else ()
    made = getattr(registry.stub, method)(request, metadata=metadata, timeout=30)
    try:
        await made
    except grpc.aio.AioRpcError as failure:
        return revision_of(failure.trailing_metadata()), error_of(failure)
    return revision_of(await made.trailing_metadata()), None


@pytest.mark.parametrize(("method", "fields"), CALLS)
async def test_every_answer_names_its_revision(
    etcd: Etcd, registry: Remote, method: str, fields: dict[str, Any]
) -> None:
    written = await etcd.commit([], [put(Model("m")), put(version("m", "1"))])
    seen, _ = await call(registry, method, fields, str(written))
    assert written <= seen <= await etcd.revision()


@pytest.mark.parametrize(("method", "fields"), CALLS)
async def test_what_etcd_has_not_come_to_is_a_failed_precondition(
    etcd: Etcd, registry: Remote, method: str, fields: dict[str, Any]
) -> None:
    newest = await etcd.revision()
    seen, error = await call(registry, method, fields, str(newest + 1000))
    assert isinstance(error, PreconditionError)
    assert newest <= seen < newest + 1000
    assert await etcd.get(keys.model("m2")) is None


@pytest.mark.parametrize("method", ["Search", "GetModel"])
async def test_what_is_no_revision_is_an_invalid_argument(registry: Remote, method: str) -> None:
    _, error = await call(registry, method, {}, "soon")
    assert isinstance(error, InvalidInputError)
    assert "modelyard-min-revision: expected a number" in error.message
