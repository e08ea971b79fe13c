"""Whether unloading gives memory back: a model deployed and undeployed again and again, beside one that stays.

Once with a runner of its own each time, and once in the runner of the one that stays. Watched is the resident memory
of the agent, of its runners and of everything else in the suite, after each unload.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.processes import clean_up_on_termination, machine, resident_by_program
from bench.suite import running
from modelyard import Client, keys
from modelyard.deployment import InstanceOptions
from modelyard.errors import ModelExecutionError
from modelyard.etcd import Etcd
from tests import models

MIB = 1 << 20
WEIGHTS_BYTES = 32 * MIB
END = 20
"""How many loads at the start, and at the end, are compared."""
RELOAD_S, UNLOAD_S, POLL_S = 60.0, 60.0, 0.02
STAYS, COMES = "stays", "comes"
AGENT, RUNNER = "modelyard_worker", "modelyard_worker.runner"


def sample(pid: int) -> dict[str, float]:
    """Resident MiB of the agent, the runners and the rest."""
    found = {name: size / MIB for name, size in resident_by_program([pid]).items()}
    agent, runners = found.pop(AGENT, 0.0), found.pop(RUNNER, 0.0)
    return {"agent": agent, "runners": runners, "others": sum(found.values())}


async def unloaded(etcd_address: str) -> None:
    """Wait until no worker holds the model that comes and goes."""
    etcd = Etcd(etcd_address)
    try:
        async with asyncio.timeout(UNLOAD_S):
            while True:
                if not any(f"/{COMES}@" in key for key in await etcd.keys(keys.INSTANCES)):
                    return
                await asyncio.sleep(POLL_S)
    finally:
        await etcd.close()


def deploy(client: Client, options: InstanceOptions) -> int:
    """Deploy the model that comes and goes; return 1 if its load failed at first (the worker loads it anew)."""
    try:
        client.deploy(COMES, options=options)
    except ModelExecutionError as error:
        print(f"not loaded: {error}", file=sys.stderr)
    else:
        return 0
    ends_s = time.perf_counter() + RELOAD_S
    while not client.deployment(COMES).ready:
        if time.perf_counter() > ends_s:
            raise RuntimeError(f"{COMES}: expected it to load anew within {RELOAD_S} s")
        time.sleep(POLL_S)
    return 1


def measure(runner: str, loads: int) -> dict[str, Any]:
    """Load and unload; compare the memory after the first loads with that after the last."""
    samples, failures, options = [], 0, InstanceOptions(threads=1, runner=runner)
    with running() as suite, tempfile.TemporaryDirectory() as scratch, Client(suite.address) as client:
        for name, size in ((STAYS, MIB), (COMES, WEIGHTS_BYTES)):
            client.push(name, models.save(models.ballast(size), Path(scratch) / f"{name}.onnx"))
        client.deploy(STAYS, options=options)
        start_s = time.perf_counter()
        for _ in range(loads):
            failures += deploy(client, options)
            client.undeploy(COMES)
            asyncio.run(unloaded(suite.process("etcd").address))
            samples.append(sample(suite.pid))
        taken_s = time.perf_counter() - start_s
    return {
        "runner": runner or "one of its own",
        "loads": loads,
        "failed": failures,
        "s_each": round(taken_s / loads, 2),
        "weights_mib": WEIGHTS_BYTES // MIB,
        "mib_after_unload": {part: _summary([s[part] for s in samples]) for part in samples[0]},
    }


def _summary(values: list[float]) -> dict[str, float]:
    first, last = statistics.median(values[:END]), statistics.median(values[-END:])
    found = {"first": first, "last": last, "most": max(values), "growth_per_load": (last - first) / len(values)}
    return {name: round(value, 2) for name, value in found.items()}


def main() -> None:
    """Measure and print."""
    clean_up_on_termination()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loads", type=int, default=200)
    parser.add_argument("--runners", nargs="+", default=["", "shared"])
    options = parser.parse_args()
    print(json.dumps({"machine": machine(), "runs": [measure(r, options.loads) for r in options.runners]}, indent=1))


if __name__ == "__main__":
    main()
