"""Watch while etcd, registries and clients come and go."""

from __future__ import annotations

import asyncio
import contextlib
import urllib.request
from collections.abc import Callable
from pathlib import Path

import grpc.aio
import pytest

from modelyard import keys
from modelyard.aio import Client
from modelyard.catalogue import Model, Version
from modelyard.deployment import Member
from modelyard.errors import UnavailableError
from modelyard.etcd import Delete, Etcd
from modelyard.events import CatalogueEvent, EventKind
from modelyard.local.ports import Port
from modelyard.rpc.replicas import Replicas
from modelyard.rpc.server import Server
from modelyard.rpc.status import error_of
from modelyard.v1 import registry_pb2 as pb
from modelyard_registry.servicer.freshness import WATCH
from modelyard_scheduler.frontdoor.relay import Relay
from modelyard_scheduler.peers import addresses_of
from tests.compaction import compact
from tests.integration.registry.remote import RegistryServer, Remote
from tests.integration.registry.watching import Watch, put, version, watching
from tests.servers import ProgramServer
from tests.waiting import eventually

NewRegistry = Callable[..., RegistryServer]


class Writer:
    """Writes transaction after transaction, whatever becomes of etcd."""

    def __init__(self, endpoint: str) -> None:
        self.done = 0
        self._etcd = Etcd(endpoint)
        self._task = asyncio.create_task(self._write())

    async def _write(self) -> None:
        number = 0
        while True:
            number += 1
            made = version(f"m{number % 7}", f"{number}", description="x" * (number % 500))
            old = Delete(keys.version(f"m{(number - 5) % 7}", f"{number - 5}"))
            with contextlib.suppress(UnavailableError):
                await self._etcd.commit([], [put(Model(made.model, f"{number}")), put(made), old])
                self.done += 1

    async def more(self) -> None:
        """Wait until it has written more."""
        enough = self.done + 30
        await eventually(lambda: self.done >= enough)

    async def stop(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        await self._etcd.close()


async def history(client: Etcd, start: int, end: int) -> list[tuple[int, str, bool]]:
    """All that etcd says to have happened to versions and models, up to a revision."""
    found: list[tuple[int, str, bool]] = []
    async with contextlib.aclosing(client.watch(keys.MODELS, start)) as batches:
        async for batch in batches:
            found += [(c.revision, c.key, c.value is None) for c in batch.changes]
            if batch.revision >= end:
                break
    return found


def summary(event: CatalogueEvent) -> tuple[int, str, bool]:
    """The same of an event."""
    resource = event.resource
    key = keys.version(event.model, resource.version) if isinstance(resource, Version) else keys.model(event.model)
    return event.revision, key, event.kind is EventKind.DELETE


async def test_no_change_is_lost_or_repeated_while_etcd_is_killed_again_and_again(
    etcd: Etcd, etcd_server: ProgramServer, registry: Remote
) -> None:
    seen: list[tuple[int, str, bool]] = []
    start = await etcd.commit([], [put(Model("first"))])

    async def read(watch: Watch) -> None:
        while True:
            seen.append(summary(await watch.next()))

    async with watching(registry, start) as watch:
        reading = asyncio.create_task(read(watch))
        await eventually(lambda: reading.done() or seen)
        writer = Writer(etcd_server.endpoint)
        for _ in range(4):
            await writer.more()
            await etcd_server.restart()
        await writer.more()
        await writer.stop()
        last = await etcd.commit([], [put(Model("last"))])
        await eventually(lambda: reading.done() or seen[-1][0] == last)
        reading.cancel()
    assert seen == await history(etcd, start, last)
    assert len(seen) > 300


class Front:
    """A front door's relay before registries, on a port of its own."""

    def __init__(self, members: dict[str, Member]) -> None:
        self._port = Port()
        self.address = self._port.address
        self._replicas = Replicas("registry", lambda: addresses_of(members))

    async def start(self) -> None:
        self._server = Server("front", lasting=[WATCH])
        service = pb.DESCRIPTOR.services_by_name["Registry"]
        self._server.add_generic(service, Relay(service.full_name, self._replicas))
        await self._server.start(self.address)

    async def restart(self) -> None:
        await self._server.stop()
        await self.start()

    async def close(self) -> None:
        await self._server.stop(0)
        await self._replicas.close()
        self._port.release()


async def test_a_client_sees_every_change_once_whatever_is_killed(
    etcd: Etcd, etcd_server: ProgramServer, new_registry: NewRegistry
) -> None:
    registries = [new_registry(name=f"registry-{n}") for n in range(2)]
    for registry in registries:
        await registry.wait_ready()
    front = Front({r.endpoint: Member(r.endpoint, r.endpoint) for r in registries})
    await front.start()
    start = await etcd.commit([], [put(Model("first"))])
    seen: list[tuple[int, str, bool]] = []

    async def read(client: Client) -> None:
        async for event in client.watch(start):
            seen.append(summary(event))  # noqa: PERF401 (it is looked at while it grows)

    async with Client(front.address) as client:
        reading = asyncio.create_task(read(client))
        writer = Writer(etcd_server.endpoint)
        victims: list[ProgramServer | Front] = [*registries, etcd_server, front, *registries, etcd_server]
        for victim in victims:
            await writer.more()
            await victim.restart()
        await writer.more()
        await writer.stop()
        last = await etcd.commit([], [put(Model("last"))])
        await eventually(lambda: reading.done() or (seen and seen[-1][0] == last))
        assert client.revision == last
        reading.cancel()
    await front.close()
    assert seen == await history(etcd, start, last)
    assert len(seen) > 300


async def test_a_client_that_goes_away_frees_its_watch(
    etcd: Etcd, etcd_server: ProgramServer, registry: Remote
) -> None:
    def watchers() -> int:
        with urllib.request.urlopen(f"http://{etcd_server.endpoint}/metrics") as page:
            lines = page.read().decode().splitlines()
        return int(next(line for line in lines if line.startswith("etcd_debugging_mvcc_watcher_total")).split()[1])

    before = await asyncio.to_thread(watchers)
    watches = [Watch(registry) for _ in range(10)]
    for watch in watches:
        await watch.take(1)
    await eventually(lambda: asyncio.to_thread(watchers))
    assert await asyncio.to_thread(watchers) == before + 10
    for watch in watches:
        watch.call.cancel()

    async def freed() -> bool:
        return await asyncio.to_thread(watchers) == before

    await eventually(freed)


async def test_a_registry_that_stops_or_dies_ends_its_watches(etcd: Etcd, new_registry: NewRegistry) -> None:
    for end, message in ((RegistryServer.signal_stop, "this server is stopping"), (RegistryServer.kill, "")):
        server = new_registry()
        await server.wait_ready()
        registry = Remote(server.endpoint)
        async with watching(registry) as watch:
            assert await watch.take(1) == [("SYNCED", "")]
            end(server)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await watch.next()
        error = error_of(caught.value)
        assert isinstance(error, UnavailableError)
        assert message in error.message
        assert server.returncode() == (0 if message else -9)
        await registry.close()


def memory_bytes(pid: int) -> int:
    """The most that a process has had in memory."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) << 10


async def write_much(client: Etcd, count: int) -> int:
    """Change ten versions again and again, 60 kB each time; return the last revision."""
    for number in range(count):
        last = await client.commit([], [put(version("m", f"{number % 10}", description="x" * 60_000))])
    return last


async def test_a_client_that_does_not_read_takes_no_memory(
    etcd: Etcd, server: RegistryServer, registry: Remote
) -> None:
    async with watching(registry) as watch:
        assert await watch.take(1) == [("SYNCED", "")]
        await write_much(etcd, 10)
        before = memory_bytes(server.pid)
        last = await write_much(etcd, 1500)
        grown = memory_bytes(server.pid) - before
        seen = 0
        while seen < last:
            seen = (await watch.next()).revision
    assert grown < 48 << 20


async def test_a_client_that_reads_too_late_is_told_to_begin_anew(etcd: Etcd, registry: Remote) -> None:
    async with watching(registry) as watch:
        assert await watch.take(1) == [("SYNCED", "")]
        last = await write_much(etcd, 1000)
        await compact(etcd)
        seen = 0
        while (event := await watch.next()).kind is EventKind.PUT:
            seen = event.revision
        assert 0 < seen < last
        assert event.kind is EventKind.RESET
        assert await watch.take(11) == [*(("PUT", f"m@{n}") for n in range(10)), ("SYNCED", "")]
        await etcd.commit([], [put(Model("m"))])
        assert await watch.take(1) == [("PUT", "m")]
