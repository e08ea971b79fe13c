"""A routing table of one model for tests of what stands on it: its streams are real, its keys the test's own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import cast

from modelyard.catalogue import Alias, Resources, Signature, Version
from modelyard.deployment import Deployment, InstanceOptions
from modelyard.errors import NotFoundError
from modelyard.names import ModelVersion
from modelyard.v1 import runner_pb2 as pb
from modelyard_scheduler.frontdoor.admission import Bounds
from modelyard_scheduler.frontdoor.aliases import Aliases
from modelyard_scheduler.frontdoor.demand import Demand
from modelyard_scheduler.frontdoor.dispatch import Dispatcher
from modelyard_scheduler.frontdoor.poison import Refusals
from modelyard_scheduler.frontdoor.resolution import Resolution
from modelyard_scheduler.frontdoor.router import Router
from modelyard_scheduler.frontdoor.splitting import least_bytes
from modelyard_scheduler.frontdoor.stream import ExecuteStream
from modelyard_scheduler.frontdoor.table import Route, RoutingTable
from tests.runners import FakeRunner
from tests.waiting import eventually

TARGET = ModelVersion("m", "1")


class Table:
    """Versions of model `m` that are deployed; "1" at first. Streams are opened by the test.

    Attributes:
        opened: the streams.
        deployed: the versions, oldest first.
        aliases: as the front door follows them.
        registered: what the registry makes of a reference.
        seen: what the router said of calls that ended.
        noted: how often it was said that an on-demand version is called.
        refusals: of its routers.
    """

    def __init__(self) -> None:
        self.opened: list[ExecuteStream] = []
        self.deployed = {"1": Deployment("m", "1", 1, Resources(), "d" * 64, "onnx")}
        self.aliases: dict[str, Alias] = {}
        self.registered = {"prod": "1"}
        self.deployed_since = False
        self.reason = ""
        self.withdrawn = False
        self.seen: list[tuple[ModelVersion | None, str]] = []
        self.noted = 0
        self.refusals = Refusals()
        self._pulse = asyncio.Event()

    def deploy(self, version: str, *, on_demand: bool = False, max_batch_size: int = 0) -> None:
        options = InstanceOptions(max_batch_size=max_batch_size)
        self.deployed[version] = Deployment(
            "m", version, 1, Resources(), "d" * 64, "onnx", options=options, on_demand=on_demand
        )

    def route(self, model: str, version: str = "") -> Route | None:
        name = version or self._newest()
        if model != "m" or name not in self.deployed:
            return None
        streams = list(self.streams(ModelVersion(model, name)))
        rows = self.deployed[name].options.max_batch_size
        least = least_bytes(streams[0].instance.signature, rows) if rows and len(streams) > 1 else None
        return Route(ModelVersion(model, name), self.deployed[name], streams, least)

    def _newest(self) -> str:
        """The newest of those with an instance that is connected, if there are such."""
        connected = {s.version.version for s in self.opened if s.connected}
        names = list(reversed(self.deployed))
        return next((name for name in names if name in connected), names[0] if names else "")

    def streams(self, version: ModelVersion) -> list[ExecuteStream]:
        return [s for s in self.opened if s.version == version]

    def failure(self, version: ModelVersion) -> str:
        return self.reason

    def withdrawn_lately(self, version: ModelVersion) -> bool:
        return self.withdrawn

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

    def known(self, model: str, name: str) -> Alias | None:
        return self.aliases.get(name)

    async def find(self, model: str, name: str) -> Alias | None:
        return self.aliases.get(name)

    def note(self, version: ModelVersion, every_s: float = 0.0) -> None:
        self.noted += 1

    async def find_version(self, model: str, reference: str) -> Version:
        name = self.registered.get(reference, reference) or "7"
        if model == "unknown" or name == "99":
            raise NotFoundError(f"model {model!r}: not registered")
        return Version(model, name, "onnx", Signature(), Resources(), "d" * 64, 1)

    def observe(self, version: ModelVersion | None, status: str, seconds: float) -> None:
        assert seconds >= 0
        self.seen.append((version, status))

    def router(self, bounds: Bounds | None = None) -> Router:
        """A router on this table."""
        routes = cast(RoutingTable, self)
        dispatcher = Dispatcher(routes, cast(Demand, self), self.refusals)
        resolution = Resolution(routes, cast(Aliases, self), self.find_version)
        return Router(resolution, dispatcher, self.observe, bounds)


@contextlib.asynccontextmanager
async def runners(table: Table, count: int, version: str = "1") -> AsyncIterator[list[FakeRunner]]:
    """Runners on streams that are connected."""
    async with contextlib.AsyncExitStack() as stack:
        made = [FakeRunner(f"w{i}", version=version) for i in range(count)]
        found = [await stack.enter_async_context(runner.serve()) for runner in made]
        for runner in found:
            table.open(runner)
        await eventually(lambda: all(s.usable for s in table.opened))
        yield found


class DyingRunner:
    """Makes a runner break off at certain requests, before it answers what came with them."""

    def __init__(self, runner: FakeRunner, poison: bytes) -> None:
        self.deaths = 0
        self._runner = runner
        self._poison = poison
        self._reply: Callable[[pb.Call], pb.Reply] = runner.reply
        runner.reply = self._answer  # type: ignore[method-assign]

    def _answer(self, call: pb.Call) -> pb.Reply:
        if self._poison in call.request:
            self.deaths += 1
            self._runner.cut()
        return self._reply(call)
