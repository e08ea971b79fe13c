"""What this machine can hold: cores, memory and accelerators, as found or as told."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

import psutil

from modelyard.config import parse_bytes, parse_pairs
from modelyard.deployment import Device
from modelyard_worker.devices import found_devices

CGROUP = Path("/sys/fs/cgroup")
"""Where a container finds its own limits (cgroup v2)."""


@dataclass(frozen=True)
class Capacity:
    """Cores, bytes of memory and accelerators."""

    cpu: float
    memory_bytes: int
    devices: tuple[Device, ...] = ()


def find_capacity(told: str) -> Capacity:
    """Return what the machine has; `told` ("cpu=8,memory=32GiB,gpu=0") overrides.

    Cores and memory may be told at will; of the GPUs found only so many are offered, since a GPU that is not there
    serves nobody.

    Raises:
        ValueError: `told` has another key, a value that is no positive number or size, or more GPUs than there are.
    """
    pairs = parse_pairs(told)
    unknown = set(pairs) - {"cpu", "memory", "gpu"}
    if unknown:
        raise ValueError(f"capacity: expected cpu, memory and gpu, got {', '.join(sorted(unknown))}")
    cpu = _cores(pairs["cpu"]) if "cpu" in pairs else found_cores(CGROUP)
    memory_bytes = parse_bytes(pairs["memory"]) if "memory" in pairs else found_memory_bytes(CGROUP)
    if memory_bytes <= 0:
        raise ValueError(f"capacity: expected memory above 0, got {pairs['memory']}")
    return Capacity(cpu, memory_bytes, _devices(pairs.get("gpu")))


def _devices(told: str | None) -> tuple[Device, ...]:
    if told is not None and not (told.isascii() and told.isdecimal()):
        raise ValueError(f"capacity: expected a number of GPUs, got {told!r}")
    if told is not None and not int(told):
        return ()
    devices = found_devices()
    if told is not None and int(told) > len(devices):
        raise ValueError(f"capacity: expected at most as many GPUs as can be used, {len(devices)}; got {told}")
    return devices if told is None else devices[: int(told)]


def _cores(text: str) -> float:
    try:
        cores = float(text)
    except ValueError:
        cores = math.nan
    if not 0 < cores < math.inf:
        raise ValueError(f"capacity: expected a positive number of cores, got {text!r}")
    return cores


def found_cores(cgroup: Path) -> float:
    """The cores that this process may run on, or as many as its cgroup's quota amounts to."""
    cores = float(len(os.sched_getaffinity(0)))
    limit = cgroup / "cpu.max"
    if limit.exists():
        quota, period = limit.read_text().split()
        if quota != "max":
            return min(cores, int(quota) / int(period))
    return cores


def found_memory_bytes(cgroup: Path) -> int:
    """The machine's memory, or its cgroup's limit if that is less."""
    total = int(psutil.virtual_memory().total)
    limit = cgroup / "memory.max"
    if limit.exists() and (text := limit.read_text().strip()) != "max":
        return min(total, int(text))
    return total
