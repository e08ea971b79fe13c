"""What processes cost, watched from outside."""

from __future__ import annotations

import os
import platform
import signal
import sys
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil


def machine() -> dict[str, Any]:
    """What this was measured on."""
    found = {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return found | ({"cpu": models[0].partition(":")[2].strip()} if models else {})


def clean_up_on_termination() -> None:
    """Let SIGTERM end this process as an exception does, so that what it has started is stopped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


def trees(pids: Iterable[int]) -> list[psutil.Process]:
    """The processes and all below them."""
    roots = [psutil.Process(pid) for pid in pids]
    return [process for root in roots for process in (root, *root.children(recursive=True))]


def program(process: psutil.Process) -> str:
    """What it runs: the module after `-m`, else the name of its executable."""
    line = process.cmdline()
    return line[line.index("-m") + 1] if "-m" in line[:-1] else process.name()


def cpu_by_program(pids: Iterable[int]) -> dict[str, float]:
    """CPU seconds so far of the processes and all below them, by what they run."""
    found: dict[str, float] = defaultdict(float)
    for process in trees(pids):
        try:
            times, name = process.cpu_times(), program(process)
        except psutil.NoSuchProcess:  # it has ended between the two looks
            continue
        found[name] += times.user + times.system
    return dict(found)


def cpu_s(pids: Iterable[int]) -> float:
    """CPU seconds so far of the processes and all below them."""
    return sum(cpu_by_program(pids).values())


def peak_by_program(pids: Iterable[int]) -> dict[str, int]:
    """The most bytes that one process of each program had resident since it began, or since `forget_peaks`."""
    found: dict[str, int] = defaultdict(int)
    for process in trees(pids):
        try:
            name = program(process)
            found[name] = max(found[name], _peak_bytes(process.pid))
        except (psutil.NoSuchProcess, ProcessLookupError, FileNotFoundError):
            continue
    return dict(found)


def _peak_bytes(pid: int) -> int:
    """VmHWM of proc(5); 0: it has ended, and nobody has waited for it yet."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:")), 0)


def forget_peaks(pids: Iterable[int]) -> None:
    """Have peaks count from now on, of the processes and all below them."""
    for process in trees(pids):
        with suppress(ProcessLookupError, FileNotFoundError):
            Path(f"/proc/{process.pid}/clear_refs").write_text("5")


def resident_by_program(pids: Iterable[int]) -> dict[str, int]:
    """Resident bytes of the processes and all below them, by what they run."""
    found: dict[str, int] = defaultdict(int)
    for process in trees(pids):
        try:
            found[program(process)] += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return dict(found)
