from __future__ import annotations

import asyncio
import os
import pickle
import signal
from pathlib import Path

import pytest
from onnx import helper

from modelyard import process
from modelyard.errors import ExhaustedError, InvalidInputError
from modelyard_registry.formats.inspection import inspect
from modelyard_registry.formats.inspector import PARALLEL, Inspector
from modelyard_registry.formats.known import FORMATS, check_format
from tests import models
from tests.waiting import eventually

HANG = "import time; time.sleep(600)"


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    models.save(models.mlp((4, 2)), tmp_path / "m.onnx")
    return tmp_path


def instead(monkeypatch: pytest.MonkeyPatch, text: str) -> list[process.Child]:
    """Have these lines of Python run in the place of the reader; return the processes, once they are started."""
    started: list[process.Child] = []
    start = process.start

    async def replaced(command: list[str], *rest: object) -> process.Child:
        started.append(await start([command[0], "-c", text], *rest))  # type: ignore[arg-type]
        return started[-1]

    monkeypatch.setattr(process, "start", replaced)
    return started


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_has_a_reader(tmp_path: Path, name: str) -> None:
    check_format(name)
    assert inspect(name, tmp_path)["error"].startswith(f"format {name}: expected ")


def test_other_formats() -> None:
    for name in ("", "ONNX", "pickle", "x" * 1_000_000):
        with pytest.raises(InvalidInputError, match="expected one of onnx, torch_export, safetensors; got") as caught:
            check_format(name)
        assert len(caught.value.message) < 200


async def test_a_signature(artifact: Path) -> None:
    found = await Inspector(os.environ).signature("onnx", artifact)
    assert [str(t) for t in found.inputs + found.outputs] == ["x: FP32 [-1, 4]", "y: FP32 [-1, 2]"]


async def test_pickles_are_refused_unless_allowed(artifact: Path) -> None:
    (artifact / "labels").write_bytes(pickle.dumps(["cat", "dog"]))
    with pytest.raises(InvalidInputError, match="labels: expected a file that is read without running code"):
        await Inspector(os.environ).signature("onnx", artifact)
    assert (await Inspector(os.environ, allow_unsafe=True).signature("onnx", artifact)).inputs


async def test_a_reason(artifact: Path) -> None:
    (artifact / "m.onnx").write_bytes(b"no model")
    with pytest.raises(InvalidInputError, match=r"m\.onnx: expected an ONNX model"):
        await Inspector(os.environ).signature("onnx", artifact)


def test_a_signature_too_large_for_the_catalogue(tmp_path: Path) -> None:
    names = [f"{n:0500}" for n in range(100)]
    nodes = [helper.make_node("Identity", ["x"], [name]) for name in names]
    outputs = [models.tensor(name, "FP32", [2]) for name in names]
    models.save(models.build(nodes, [models.tensor("x", "FP32", [2])], outputs), tmp_path / "m.onnx")
    assert inspect("onnx", tmp_path)["error"].startswith("signature: expected at most 32768 bytes")


async def test_a_reader_that_crashes(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    instead(monkeypatch, "import os, signal; os.kill(os.getpid(), signal.SIGABRT)")
    with pytest.raises(InvalidInputError, match="the reader was killed by SIGABRT"):
        await Inspector(os.environ).signature("onnx", artifact)


async def test_a_reader_that_runs_out_of_memory(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    instead(monkeypatch, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(ExhaustedError, match="killed by SIGKILL"):
        await Inspector(os.environ).signature("onnx", artifact)


async def test_a_reader_with_a_bug(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    instead(monkeypatch, "raise SystemExit(3)")
    with pytest.raises(RuntimeError, match="exit status 3"):
        await Inspector(os.environ).signature("onnx", artifact)


async def test_a_reader_that_hangs_is_ended(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = instead(monkeypatch, HANG)
    with pytest.raises(InvalidInputError, match=r"within 0\.2 s"):
        await Inspector(os.environ, timeout_s=0.2).signature("onnx", artifact)
    assert await started[0].wait() == -signal.SIGKILL


async def test_a_caller_that_goes_ends_the_reader(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = instead(monkeypatch, HANG)
    inspector = Inspector(os.environ)
    calls = [asyncio.create_task(inspector.signature("onnx", artifact)) for _ in range(PARALLEL + 2)]
    await eventually(lambda: len(started) == PARALLEL)
    for call in calls[:PARALLEL]:
        call.cancel()
    await asyncio.gather(*calls[:PARALLEL], return_exceptions=True)
    await eventually(lambda: len(started) == PARALLEL + 2)
    for call in calls[PARALLEL:]:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert [await child.wait() for child in started] == [-signal.SIGKILL] * len(started)
