"""A worker's agent in this process, on a real etcd, with runners of its own; placements are the test's to write."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import onnx

from modelyard import codec, keys
from modelyard.catalogue import Manifest, Resources
from modelyard.chunks import Chunk
from modelyard.deployment import Instance, InstanceOptions, InstanceState, Placement
from modelyard.errors import UnavailableError
from modelyard.etcd import Etcd
from modelyard.etcd.messages import Change
from modelyard.session import Session
from modelyard_worker.agent import Agent, Host
from modelyard_worker.cache import ArtifactCache
from modelyard_worker.capacity import Capacity
from modelyard_worker.logs import RunnerLogs
from modelyard_worker.runner_process import RunnerSettings
from modelyard_worker.runners import Runners
from tests import models
from tests.waiting import eventually

MEMORY_BYTES = 16 << 30


class NoSource:
    async def manifest(self, digest: str) -> Manifest:
        raise UnavailableError("no registry is live")

    async def pieces(self, chunks: Sequence[Chunk]) -> AsyncGenerator[bytes, None]:
        raise UnavailableError("no registry is live")
        yield b""


class Machine:
    """A worker's agent with its session, models in its cache, and placements written by the test."""

    def __init__(self, etcd: Etcd, directory: Path) -> None:
        self.etcd = etcd
        self.directory = directory
        self.session = Session(etcd, ttl_s=10)
        settings = RunnerSettings("127.0.0.1", "127.0.0.1", 1, RunnerLogs(directory / "logs"), os.environ)
        cache = ArtifactCache(directory / "artifacts", NoSource())
        self.agent = Agent(Host("w0", Capacity(4.0, MEMORY_BYTES)), etcd, self.session, cache, Runners(settings))
        self.said: list[Instance] = []
        """Whatever the agent announced."""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Machine]:
        await self.session.start()
        works = [self._note(), self.session.run(), self.agent.placements.run(), self.agent.run()]
        tasks = [asyncio.ensure_future(w) for w in works]
        try:
            yield self
        finally:
            tasks[-1].cancel()
            await self.agent.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.session.close()

    async def _note(self) -> None:
        async with contextlib.aclosing(self.etcd.follow(keys.INSTANCES)) as stream:
            async for event in stream:
                if isinstance(event, Change) and event.value is not None:
                    self.said.append(codec.decode(Instance, event.value.value))

    def states(self, model: str) -> list[InstanceState]:
        """All states of an instance that were announced, in order."""
        return [i.state for i in self.said if i.model == model]

    def store(self, digest: str, model: onnx.ModelProto) -> str:
        place = self.directory / "artifacts" / (digest * 64)
        place.mkdir(parents=True)
        models.save(model, place / "model.onnx")
        return digest * 64

    async def place(self, model: str, digest: str, memory_bytes: int = 0, **options: Any) -> None:
        needs = Resources(memory_bytes=memory_bytes)
        placement = Placement(model, "1", "w0", digest, "onnx", needs, 1, InstanceOptions(**options))
        await self.etcd.put(keys.placement("w0", model, "1"), codec.encode(placement))

    async def withdraw(self, model: str) -> None:
        await self.etcd.delete(keys.placement("w0", model, "1"))

    async def instance(self, model: str) -> Instance | None:
        held = await self.etcd.get(keys.instance("w0", model, "1"))
        return codec.decode(Instance, held.value) if held else None

    async def becomes(self, model: str, state: InstanceState) -> Instance:
        async def found() -> Instance | None:
            instance = await self.instance(model)
            return instance if instance and instance.state is state else None

        return await eventually(found) or Instance(model, "1", "w0", state)

    async def is_gone(self, model: str) -> None:
        async def gone() -> bool:
            return await self.instance(model) is None

        await eventually(gone)
