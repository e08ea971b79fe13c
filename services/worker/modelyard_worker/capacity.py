"""What this machine can hold: cores, memory and accelerators, as found or as told."""

from __future__ import annotations

import csv
import logging
import math
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil

from modelyard.config import parse_bytes, parse_pairs
from modelyard.deployment import Device

log = logging.getLogger(__name__)

CGROUP = Path("/sys/fs/cgroup")
"""Where a container finds its own limits (cgroup v2)."""
QUERY_TIMEOUT_S = 20


@dataclass(frozen=True)
class Capacity:
    """Cores, bytes of memory and accelerators."""

    cpu: float
    memory_bytes: int
    devices: tuple[Device, ...] = ()


def find_capacity(told: str) -> Capacity:
    """Return what the machine has; `told` ("cpu=8,memory=32GiB") overrides.

    Raises:
        ValueError: `told` has another key, or a value that is no positive number or size.
    """
    pairs = parse_pairs(told)
    unknown = set(pairs) - {"cpu", "memory"}
    if unknown:
        raise ValueError(f"capacity: expected cpu and memory, got {', '.join(sorted(unknown))}")
    cpu = _cores(pairs["cpu"]) if "cpu" in pairs else found_cores(CGROUP)
    memory_bytes = parse_bytes(pairs["memory"]) if "memory" in pairs else found_memory_bytes(CGROUP)
    if memory_bytes <= 0:
        raise ValueError(f"capacity: expected memory above 0, got {pairs['memory']}")
    return Capacity(cpu, memory_bytes, _cuda_devices())


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


def _cuda_devices() -> tuple[Device, ...]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    query = [program, "--query-gpu=index,name,memory.total", "--format=csv,noheader,nounits"]
    try:
        listing = subprocess.run(query, capture_output=True, text=True, check=True, timeout=QUERY_TIMEOUT_S)
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("no accelerator can be used", extra={"reason": str(error)})
        return ()
    return parse_devices(listing.stdout)


def parse_devices(listing: str) -> tuple[Device, ...]:
    """Read nvidia-smi's lines of index, name, memory in MiB; memory that it does not know ("[N/A]") is 0."""
    rows = csv.reader(listing.splitlines(), skipinitialspace=True)
    return tuple(
        Device(f"cuda:{index}", name, int(mebibytes) << 20 if mebibytes.isdecimal() else 0)
        for index, name, mebibytes in rows
    )
