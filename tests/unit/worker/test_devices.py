"""GPUs: those listed, those usable, and what is said of the others. The programs asked are played by scripts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from modelyard.deployment import Device
from modelyard_worker import devices
from modelyard_worker.devices import Engines, found_devices, parse_engines, parse_listing
from modelyard_worker.runtimes.devices import usable

T4 = Device("cuda:0", "NVIDIA T4", 15360 << 20)
LISTING = "0, NVIDIA T4, 15360, [N/A]"


def script(path: Path, body: str) -> str:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program of that name that lists one T4."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    script(tmp_path / "nvidia-smi", f"echo '{LISTING}'")
    return tmp_path / "nvidia-smi"


def engines_say(body: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_ENGINES", [script(directory / "engines", body)])


def test_the_listing() -> None:
    listing = (
        "0, NVIDIA H100 80GB HBM3, 81559, Disabled\n1, NVIDIA GB10, [N/A], [N/A]\n2, NVIDIA A100, 40960, Enabled\n"
    )
    assert parse_listing(listing) == [
        (Device("cuda:0", "NVIDIA H100 80GB HBM3", 81559 << 20), False),
        (Device("cuda:1", "NVIDIA GB10", 0), False),
        (Device("cuda:2", "NVIDIA A100", 40960 << 20), True),
    ]
    assert parse_listing("") == []


def test_onnx_runtime_alone_does_not_get_a_partitioned_gpu(
    nvidia_smi: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(nvidia_smi, f"echo '{LISTING}'; echo '1, NVIDIA A100, 40960, Enabled'")
    engines_say('echo \'{"torch": [], "onnxruntime": true}\'', tmp_path, monkeypatch)
    assert found_devices() == (T4,)


def test_no_program_that_lists_gpus_means_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    engines_say("exit 9", tmp_path, monkeypatch)
    assert found_devices() == ()


@pytest.mark.parametrize("body", ["echo no devices >&2; exit 9", "exec sleep 600", "echo 'No devices were found'"])
def test_a_listing_that_fails_or_hangs_means_no_devices(
    body: str, nvidia_smi: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    script(nvidia_smi, body)
    monkeypatch.setattr(devices, "QUERY_TIMEOUT_S", 0.2)
    assert found_devices() == ()
    assert "no accelerator can be used" in caplog.text


@pytest.mark.parametrize(
    ("engines", "found", "warning"),
    [
        ({"torch": [[0, "NVIDIA T4", 15 << 30]], "onnxruntime": True}, (Device("cuda:0", "NVIDIA T4", 15 << 30),), ""),
        (
            {"torch": [[0, "MIG 1g.10gb", 9 << 30]], "onnxruntime": False},
            (Device("cuda:0", "MIG 1g.10gb", 9 << 30),),
            "ONNX models cannot use the GPUs",
        ),
        ({"torch": [], "onnxruntime": True}, (T4,), "torch cannot use the GPUs"),
        ({"torch": [], "onnxruntime": False}, (), "no engine can use the GPUs"),
    ],
)
@pytest.mark.usefixtures("nvidia_smi")
def test_what_the_engines_can_use_is_announced(
    engines: object,
    found: tuple[Device, ...],
    warning: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    engines_say(f"echo '{json.dumps(engines)}'", tmp_path, monkeypatch)
    assert found_devices() == found
    assert [record.message for record in caplog.records] == [warning] * bool(warning)


@pytest.mark.parametrize("body", ["exit 1", "exec sleep 600", "echo no JSON"])
@pytest.mark.usefixtures("nvidia_smi")
def test_engines_that_fail_or_hang_use_nothing(
    body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engines_say(body, tmp_path, monkeypatch)
    monkeypatch.setattr(devices, "ENGINES_TIMEOUT_S", 0.2)
    assert found_devices() == ()
    assert "the engines do not say what they can use" in caplog.text


def test_what_the_engines_print_is_understood() -> None:
    command = [sys.executable, "-m", "modelyard_worker.runtimes.devices"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = usable()
    names = tuple(Device(f"cuda:{number}", name, size_bytes) for number, name, size_bytes in found["torch"])
    assert parse_engines(printed) == Engines(names, found["onnxruntime"])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"torch": [[0]], "onnxruntime": true}', '{"torch": []}'])
def test_what_is_no_answer_of_the_engines(text: str) -> None:
    with pytest.raises(ValueError, match="expected the engines' devices as JSON, got "):
        parse_engines(text)
