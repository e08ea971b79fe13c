"""What it costs a worker to load and unload a model again and again: memory, descriptors, processes."""

from __future__ import annotations

import gc
import os
from dataclasses import dataclass

import psutil

from modelyard.deployment import InstanceState
from tests.integration.serving.machine import Machine
from tests.integration.serving.traffic import own_runners


@dataclass(frozen=True)
class Footprint:
    """What this process holds: resident memory, open descriptors, children (zombies too); and what its runners hold."""

    memory_bytes: int
    descriptors: int
    children: int
    runners_bytes: int

    @staticmethod
    def take() -> Footprint:
        """Look now."""
        gc.collect()
        this = psutil.Process()
        held = sum(psutil.Process(p.pid).memory_info().rss for p in own_runners())
        return Footprint(this.memory_info().rss, len(os.listdir("/proc/self/fd")), len(this.children()), held)


async def load_and_unload(machine: Machine, digest: str, times: int, runner: str = "") -> Footprint:
    """Place and withdraw a model so many times; return what is held when it is gone."""
    for _ in range(times):
        await machine.place("m", digest, runner=runner)
        await machine.becomes("m", InstanceState.READY)
        await machine.withdraw("m")
        await machine.is_gone("m")
    return Footprint.take()
