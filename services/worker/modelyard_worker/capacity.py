"""What this machine can hold: cores, memory and accelerators, as found or as told."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil

from modelyard.config import parse_bytes, parse_pairs
from modelyard.deployment import Device

_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True)
class Capacity:
    """Cores, bytes of memory and accelerators."""

    cpu: float
    memory_bytes: int
    devices: tuple[Device, ...] = ()


def find_capacity(told: str) -> Capacity:
    """Return what the machine has; `told` ("cpu=8,memory=32GiB") overrides.

    Raises:
        ValueError: `told` has another key or a value that is no number or size.
    """
    pairs = parse_pairs(told)
    unknown = set(pairs) - {"cpu", "memory"}
    if unknown:
        raise ValueError(f"capacity: expected cpu and memory, got {', '.join(sorted(unknown))}")
    cpu = float(pairs["cpu"]) if "cpu" in pairs else float(len(os.sched_getaffinity(0)))
    memory = parse_bytes(pairs["memory"]) if "memory" in pairs else _memory_bytes()
    return Capacity(cpu, memory, _cuda_devices())


def _memory_bytes() -> int:
    total = int(psutil.virtual_memory().total)
    if _CGROUP_LIMIT.exists() and (limit := _CGROUP_LIMIT.read_text().strip()) != "max":
        return min(total, int(limit))
    return total


def _cuda_devices() -> tuple[Device, ...]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    query = [program, "--query-gpu=index,name,memory.total", "--format=csv,noheader,nounits"]
    listing = subprocess.run(query, capture_output=True, text=True, check=False, timeout=20)
    rows = csv.reader(listing.stdout.splitlines(), skipinitialspace=True)
    return tuple(Device(f"cuda:{index}", name, int(mebibytes) << 20) for index, name, mebibytes in rows)
