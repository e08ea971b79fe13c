from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from modelyard.cli.app import app
from modelyard.errors import DataLossError, PreconditionError
from tests.unit.fakes import FakeSuite

Run = Callable[..., str]


def test_push(fakes: FakeSuite, run: Run, run_json: Callable[..., Any], model: str) -> None:
    options = ("--alias", "prod", "--label", "team=vision", "--label", "note=a=b,c", "--memory", "2GiB", "--cpu", "1.5")
    assert run("push", "digits", model, *options) == "pushed digits@1: 15 B sent, 0 B were there already\n"
    version = run_json("push", "digits", model, "--version", "9", "--tenant", "acme")
    assert (version["model"], version["version"], version["size_bytes"]) == ("digits", "9", 15)
    assert run("push", "digits", model) == "pushed digits@3: 0 B sent, 15 B were there already\n"
    first = fakes.registry.versions["digits", "1"]
    assert dict(first.labels) == {"team": "vision", "note": "a=b,c"}
    assert (first.resources.cpu, first.resources.memory_bytes) == (1.5, 2 << 30)
    assert fakes.registry.models["digits"].aliases[0].name == "prod"
    assert "acme" in fakes.registry.tenants


def test_push_says_where_a_version_came_from(run_json: Callable[..., Any], model: str) -> None:
    options = ("--parent", "digits@1", "--job", "train-7", "--dataset", "mnist", "--metric", "accuracy=0.97")
    version = run_json("push", "digits", model, *options, "--metric", "loss=1e-3")
    assert version["lineage"] == {"parent_version": "digits@1", "job": "train-7", "dataset": "mnist"}
    assert version["metrics"] == {"accuracy": 0.97, "loss": 0.001}


def test_push_with_wrong_options(fakes: FakeSuite, fail: Run, model: str) -> None:
    for option, value, expected in (
        ("--metric", "accuracy=high", "--metric: expected a number for 'accuracy', got 'high'"),
        ("--metric", "accuracy", "--metric: expected key=value, got 'accuracy'"),
        ("--label", "x", "--label: expected key=value, got 'x'"),
        ("--memory", "lots", "--memory: expected a size such as"),
    ):
        assert expected in fail("push", "digits", model, option, value)
    assert "expected a file or directory, found nothing" in fail("push", "digits", f"{model}.absent")
    assert not fakes.registry.calls


def test_pull(run: Run, model: str, tmp_path: Path) -> None:
    run("push", "digits", model)
    assert run("pull", "digits", str(tmp_path / "copy")).startswith("pulled digits@1 (15 B) into ")
    assert (tmp_path / "copy" / "net.onnx").read_bytes() == b"not looked into"


def test_cat_writes_the_bytes_and_nothing_else(
    fakes: FakeSuite, run: Run, run_json: Callable[..., Any], fail: Run, tmp_path: Path
) -> None:
    content = bytes(range(256))
    (tmp_path / "net.onnx").write_bytes(content)
    run("push", "digits", str(tmp_path / "net.onnx"), "--alias", "prod")
    result = CliRunner(env={"MODELYARD_ADDRESS": fakes.address}).invoke(app, ["cat", "digits", "net.onnx"])
    assert result.stdout_bytes == content
    part = run_json("cat", "digits@prod", "net.onnx", "--offset", "10", "--length", "3")
    assert part.pop("base64") == base64.b64encode(content[10:13]).decode()
    assert part == {"model": "digits", "version": "prod", "path": "net.onnx", "offset": 10}
    assert "no file 'absent'" in fail("cat", "digits", "absent")


def test_gc(fakes: FakeSuite, run: Run, run_json: Callable[..., Any], fail: Run) -> None:
    answer = fakes.registry.collected
    assert run("gc") == "removed 0 chunks (0 B), kept 0 chunks (0 B)\n"
    answer.removed_chunks, answer.removed_bytes, answer.kept_chunks, answer.kept_bytes = 1, 5, 2, 3 << 30
    answer.purged.extend(["digits@7", "old"])
    try:
        assert run("gc").splitlines() == [
            "purged digits@7",
            "purged old",
            "removed 1 chunk (5 B), kept 2 chunks (3 GiB)",
        ]
        assert run("gc", "--dry-run").splitlines() == [
            "would purge digits@7",
            "would purge old",
            "would remove 1 chunk (5 B), keep 2 chunks (3 GiB)",
        ]
        assert (fakes.registry.requests[-1].dry_run, fakes.registry.requests[-1].uploads) == (True, False)
        run("gc", "--uploads")
        assert (fakes.registry.requests[-1].dry_run, fakes.registry.requests[-1].uploads) == (False, True)
        assert run_json("gc") == {
            "removed_chunks": 1,
            "removed_bytes": 5,
            "kept_chunks": 2,
            "kept_bytes": 3 << 30,
            "purged": ["digits@7", "old"],
        }
    finally:
        answer.Clear()
    fakes.registry.failures["CollectGarbage"] = [PreconditionError("another is under way"), DataLossError("digits@7")]
    assert fail("gc") == "error: another is under way\n"
    assert fail("gc") == "error: digits@7\n"


@pytest.mark.parametrize("arguments", [("cat", "absent", "x"), ("pull", "absent"), ("diff", "absent", "absent")])
def test_a_model_that_is_not_there(fail: Run, arguments: tuple[str, ...]) -> None:
    assert fail(*arguments) == "error: model 'absent': not registered\n"
