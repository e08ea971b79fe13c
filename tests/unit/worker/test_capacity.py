from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from modelyard.deployment import Device
from modelyard_worker import capacity
from modelyard_worker.capacity import find_capacity, found_cores, found_memory_bytes

GIB = 1 << 30


@pytest.mark.parametrize(
    ("told", "cpu", "memory_bytes"),
    [
        ("cpu=8,memory=32GiB", 8.0, 32 * GIB),
        (" memory = 512MiB , cpu=0.5", 0.5, 512 << 20),
        ("cpu=3", 3.0, None),
        ("memory=1.5GiB", None, 3 * GIB // 2),
        ("", None, None),
    ],
)
def test_what_is_told_wins_over_what_is_found(told: str, cpu: float | None, memory_bytes: int | None) -> None:
    found = find_capacity(told.replace(" = ", "="))
    assert found.cpu == (cpu or len(os.sched_getaffinity(0)))
    assert found.memory_bytes == memory_bytes or memory_bytes is None
    assert 0 < found.memory_bytes <= max(psutil.virtual_memory().total, 32 * GIB)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ("tpu=1", "capacity: expected cpu, memory and gpu, got tpu"),
        ("disk=1,cpu=2,tpu=1", "capacity: expected cpu, memory and gpu, got disk, tpu"),
        ("gpu=all", "capacity: expected a number of GPUs, got 'all'"),
        ("gpu=-1", "capacity: expected a number of GPUs, got '-1'"),
        ("cpu", "expected key=value, got 'cpu'"),
        ("cpu=many", "capacity: expected a positive number of cores, got 'many'"),
        ("cpu=0", "capacity: expected a positive number of cores, got '0'"),
        ("cpu=-1", "capacity: expected a positive number of cores, got '-1'"),
        ("cpu=nan", "capacity: expected a positive number of cores, got 'nan'"),
        ("cpu=inf", "capacity: expected a positive number of cores, got 'inf'"),
        ("memory=lots", "expected a size such as 512MiB or 4GiB, got 'lots'"),
        ("memory=-1GiB", "expected a size such as 512MiB or 4GiB, got '-1GiB'"),
        ("memory=0", "capacity: expected memory above 0, got 0"),
    ],
)
def test_what_is_not_understood_is_refused(told: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        find_capacity(told)


def test_a_containers_limits_count(tmp_path: Path) -> None:
    assert found_memory_bytes(tmp_path) == psutil.virtual_memory().total
    assert found_cores(tmp_path) == len(os.sched_getaffinity(0))
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert found_memory_bytes(tmp_path) == psutil.virtual_memory().total
    assert found_cores(tmp_path) == len(os.sched_getaffinity(0))
    (tmp_path / "memory.max").write_text("1048576\n")
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert found_memory_bytes(tmp_path) == 1 << 20
    assert found_cores(tmp_path) == 0.5


def test_a_limit_above_the_machine_is_no_gain(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text(f"{1 << 60}\n")
    (tmp_path / "cpu.max").write_text("100000000 100000\n")
    assert found_memory_bytes(tmp_path) == psutil.virtual_memory().total
    assert found_cores(tmp_path) == len(os.sched_getaffinity(0))


def test_gpus_can_be_left_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    found = (Device("cuda:0", "T4", 15 * GIB), Device("cuda:1", "T4", 15 * GIB))
    monkeypatch.setattr(capacity, "found_devices", lambda: found)
    for told, offered in (("", found), ("gpu=2", found), ("gpu=1", found[:1]), ("gpu=0", ()), ("cpu=1,gpu=0", ())):
        assert find_capacity(told).devices == offered
    with pytest.raises(ValueError, match="capacity: expected at most as many GPUs as can be used, 2; got 3"):
        find_capacity("gpu=3")
