"""Loading and unloading a model again and again leaves nothing behind: not in the agent, not in a runner, no process.

`make chaos` does it 200 times each and prints what it found.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict

import pytest

from modelyard.deployment import InstanceState
from tests import models
from tests.integration.serving.loads import Footprint, load_and_unload
from tests.integration.serving.machine import Machine

WEIGHTS_BYTES = 32 << 20
FEW, MANY = 4, 200


async def check_private(machine: Machine, times: int) -> dict[str, object]:
    """Each time in a process of its own."""
    digest = machine.store("a", models.ballast(WEIGHTS_BYTES))
    before = await load_and_unload(machine, digest, 2)
    after = await load_and_unload(machine, digest, times)
    assert (after.descriptors, after.children, after.runners_bytes) == (before.descriptors, before.children, 0)
    assert after.memory_bytes - before.memory_bytes < WEIGHTS_BYTES / 4
    return {"before": asdict(before), "after": asdict(after)}


async def check_shared(machine: Machine, times: int) -> dict[str, object]:
    """Each time in the same process, which another model keeps alive."""
    await machine.place("stays", machine.store("b", models.mlp((4, 2))), runner="shared")
    await machine.becomes("stays", InstanceState.READY)
    digest = machine.store("a", models.ballast(WEIGHTS_BYTES))
    before = await load_and_unload(machine, digest, 2, "shared")
    after = await load_and_unload(machine, digest, times, "shared")
    assert (after.descriptors, after.children) == (before.descriptors, before.children)
    assert after.memory_bytes - before.memory_bytes < WEIGHTS_BYTES / 4
    assert after.runners_bytes - before.runners_bytes < WEIGHTS_BYTES / 2
    return {"before": asdict(before), "after": asdict(after)}


async def test_in_processes_of_their_own(machine: Machine) -> None:
    await check_private(machine, FEW)


async def test_in_a_process_that_stays(machine: Machine) -> None:
    await check_shared(machine, FEW)


async def test_unloading_gives_all_memory_back(machine: Machine) -> None:
    digest = machine.store("a", models.ballast(WEIGHTS_BYTES))
    await machine.place("m", digest)
    ready = await machine.becomes("m", InstanceState.READY)
    assert ready.memory_bytes > WEIGHTS_BYTES
    await machine.withdraw("m")
    await machine.is_gone("m")
    assert Footprint.take().runners_bytes == 0


@pytest.mark.chaos
@pytest.mark.timeout(1200)
async def test_two_hundred_times(machine: Machine) -> None:
    began_s = time.monotonic()
    private = await check_private(machine, MANY)
    private_s = time.monotonic() - began_s
    found = {"times": MANY, "weights_bytes": WEIGHTS_BYTES, "private": private, "private_s": round(private_s, 1)}
    print(json.dumps(found))


@pytest.mark.chaos
@pytest.mark.timeout(1200)
async def test_two_hundred_times_in_a_process_that_stays(machine: Machine) -> None:
    print(json.dumps({"times": MANY, "weights_bytes": WEIGHTS_BYTES, "shared": await check_shared(machine, MANY)}))
