from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from modelyard.deployment import Device
from modelyard_worker import capacity
from modelyard_worker.capacity import find_capacity, found_cores, found_memory_bytes, parse_devices

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
        ("gpu=1", "capacity: expected cpu and memory, got gpu"),
        ("disk=1,cpu=2,gpu=1", "capacity: expected cpu and memory, got disk, gpu"),
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


def test_devices_are_read_from_the_listing() -> None:
    listing = "0, NVIDIA H100 80GB HBM3, 81559\n1, NVIDIA GB10, [N/A]\n"
    assert parse_devices(listing) == (
        Device("cuda:0", "NVIDIA H100 80GB HBM3", 81559 << 20),
        Device("cuda:1", "NVIDIA GB10", 0),
    )
    assert parse_devices("") == ()


@pytest.mark.parametrize("body", ["echo no devices >&2; exit 9", "exec sleep 600"])
def test_a_listing_that_fails_or_hangs_means_no_devices(
    body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(capacity, "QUERY_TIMEOUT_S", 0.2)
    assert find_capacity("cpu=1,memory=1GiB").devices == ()
    assert "no accelerator can be used" in caplog.text


def test_the_listing_of_a_machine_with_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho '0, NVIDIA T4, 15360'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert find_capacity("").devices == (Device("cuda:0", "NVIDIA T4", 15360 << 20),)
