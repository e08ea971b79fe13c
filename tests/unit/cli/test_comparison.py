from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., str]


@pytest.fixture(autouse=True)
def digits(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"first")
    run("push", "digits", str(path), "--metric", "accuracy=0.9", "--metric", "loss=0.5")
    path.write_bytes(b"second one")
    run("push", "digits", str(path), "--metric", "accuracy=0.92", "--metric", "f1=0.8", "--parent", "digits@1")


def test_diff(run: Run) -> None:
    shown = [" ".join(line.split()) for line in run("diff", "digits@1", "digits").splitlines()]
    assert shown[0].startswith("digits@1 → digits@2: NARROWED, the other takes less")
    assert shown[1] == "input 'x': expected FP32 [-1, 2], got FP32 [1, 2] (narrowed)"
    for line in (
        "size 5 B 10 B",
        "parent digits@1",
        "accuracy 0.9 0.92 (+0.02)",
        "f1 0.8",
        "loss 0.5",
        "~ net.onnx 5 B 10 B 0 B",
        "+ new.bin 3 MiB 1 MiB",
        "- old.bin 10 B",
    ):
        assert line in shown


def test_diff_of_the_same(run: Run) -> None:
    text = run("diff", "digits@1", "digits@1")
    assert text.startswith("digits@1 → digits@1: SAME, the same tensors\n")
    assert "net.onnx" not in text


def test_diff_as_json(run_json: Callable[..., Any], fail: Run) -> None:
    found = run_json("diff", "digits@1", "digits@2")
    assert list(found) == ["base", "other", "compatibility", "differences", "files"]
    assert (found["base"]["version"], found["other"]["version"], found["compatibility"]) == ("1", "2", "NARROWED")
    assert found["files"][1] == {
        "path": "new.bin",
        "base_size_bytes": -1,
        "other_size_bytes": 3 << 20,
        "shared_bytes": 1 << 20,
    }
    assert "no version or alias '9'" in fail("diff", "digits@1", "digits@9")
