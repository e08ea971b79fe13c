"""Several endpoints of etcd, by name or by address, not all of which answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import pytest

from modelyard.errors import UnavailableError
from modelyard.etcd import Change, Etcd, members
from modelyard.local.ports import Port
from tests.servers import ProgramServer, new_etcd
from tests.waiting import eventually


@contextlib.asynccontextmanager
async def connected(*endpoints: str) -> AsyncIterator[Etcd]:
    client = Etcd(",".join(endpoints))
    try:
        yield client
    finally:
        await client.close()


@pytest.fixture
async def other(tmp_path: Path) -> AsyncIterator[ProgramServer]:
    """A second etcd, which knows nothing of the first."""
    server = new_etcd(tmp_path)
    server.start()
    await server.wait_ready()
    yield server
    server.close()


def by_name(server: ProgramServer) -> str:
    return "localhost:" + server.endpoint.rpartition(":")[2]


async def test_names_and_addresses_reach_the_same_etcd(etcd: Etcd, etcd_server: ProgramServer) -> None:
    name, address = by_name(etcd_server), etcd_server.endpoint
    for endpoints in ([name], [name, name], [name, address], [address, name], [f"http://{name}", f" {name}"]):
        async with connected(*endpoints) as client:
            await client.put("/test/a", ",".join(endpoints).encode())
            found = await etcd.get("/test/a")
            assert found is not None
            assert found.value.decode() == ",".join(endpoints)


async def test_an_endpoint_that_is_down_is_passed_over(etcd: Etcd, etcd_server: ProgramServer) -> None:
    port = Port()
    dead, live = f"localhost:{port.number}", by_name(etcd_server)
    for endpoints in ([dead, live], [live, dead], [dead, dead, live], ["no-such-name.invalid:1", live]):
        async with connected(*endpoints) as client, asyncio.timeout(60):
            await client.wait_ready()
            assert await client.keep_alive(await client.grant(60))
            async with contextlib.aclosing(client.follow("/test/")) as stream:
                await anext(stream)
                await etcd.put("/test/a", b"")
                assert isinstance(await anext(stream), Change)
    port.release()


async def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "CONNECT_S", 0.2)
    port = Port()
    dead = f"localhost:{port.number}"
    async with connected(dead, dead) as client:
        for call in (client.get("/test/a"), client.keep_alive(1), client.revoke(1), client.put("/test/a", b"")):
            with pytest.raises(UnavailableError, match=f"etcd at {dead},{dead}: none of these can be reached"):
                await call
    port.release()


async def answering(client: Etcd) -> bytes:
    """Which etcd answers; empty while none does."""
    with contextlib.suppress(UnavailableError):
        found = await client.get("/test/who")
        return found.value if found else b""
    return b""


@pytest.mark.parametrize("how", ["kill", "suspend"])
async def test_who_no_longer_answers_is_left_for_another(
    etcd: Etcd, etcd_server: ProgramServer, other: ProgramServer, how: str
) -> None:
    servers = {b"first": etcd_server, b"other": other}
    for name, server in servers.items():
        async with connected(server.endpoint) as client:
            await client.put("/test/who", name)
    async with connected(by_name(other), by_name(etcd_server)) as client:
        chosen = await eventually(lambda: answering(client))
        left = servers.pop(chosen)
        getattr(left, how)()
        try:
            assert await eventually(lambda: answering(client)) in servers
            assert {await answering(client) for _ in range(10)} == set(servers)
        finally:
            left.start() if how == "kill" else left.resume()


async def test_who_answers_only_that_it_cannot_is_left_for_another(etcd: Etcd, etcd_server: ProgramServer) -> None:
    async def no_leader(request: object, timeout: float) -> object:
        status, none = grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata()
        raise grpc.aio.AioRpcError(status, none, none, "etcdserver: no leader", None)

    async with connected(by_name(etcd_server), etcd_server.endpoint) as client:
        await client.get("/test/a")
        client._members._members[0].kv.Range = no_leader
        with pytest.raises(UnavailableError, match="no leader"):
            await client.get("/test/a")
        assert [await client.get("/test/a") for _ in range(10)] == [None] * 10
