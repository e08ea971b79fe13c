"""What `up` tells the registry, and remembers."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from modelyard.cli.app import app
from tests import models

Up = Callable[..., Any]


def run(*arguments: str) -> Result:
    """Run the CLI to its end."""
    return CliRunner().invoke(app, arguments)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "suite"
    assert run("down", "--dir", str(tmp_path / "suite")).exit_code == 0


@pytest.fixture
def up(directory: Path) -> Up:
    """Start a suite without workers in the directory; return a function that runs commands on it."""

    def start(*options: str) -> Up:
        done = run("up", "--dir", str(directory), "--port", "0", "--workers", "0", "--detach", *options)
        assert (done.exit_code, done.stderr) == (0, "")
        address = json.loads(run("status", "--dir", str(directory), "--json").stdout)["address"]
        return lambda *arguments: run(*arguments, "--address", address)

    return start


def chunks(directory: Path) -> list[Path]:
    return [path for path in (directory / "chunks").rglob("*") if path.is_file()]


def test_a_store_is_remembered_and_not_exchanged(up: Up, directory: Path, tmp_path: Path) -> None:
    path, store = models.save(models.mlp((4, 2)), tmp_path / "net.onnx"), tmp_path / "elsewhere"
    assert up("--store", str(store))("push", "digits", str(path)).exit_code == 0
    assert chunks(store)
    assert not chunks(directory / "store")
    assert run("down", "--dir", str(directory)).exit_code == 0

    assert up()("pull", "digits", str(tmp_path / "copy")).exit_code == 0
    assert (tmp_path / "copy" / "net.onnx").read_bytes() == path.read_bytes()
    assert run("down", "--dir", str(directory)).exit_code == 0

    refused = run("up", "--dir", str(directory), "--port", "0", "--detach", "--store", str(tmp_path / "other"))
    assert refused.exit_code == 1
    (line,) = refused.stderr.splitlines()
    assert f"are kept in {store}, got {tmp_path / 'other'}" in line


@pytest.mark.chaos  # it starts suites again and again
def test_unsafe_artifacts_are_allowed_until_they_are_not(up: Up, directory: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    models.save(models.mlp((4, 2)), source / "net.onnx")
    (source / "labels.pkl").write_bytes(pickle.dumps(["a", "b"]))
    for options, status in ((), 1), (("--allow-unsafe",), 0), ((), 0), (("--no-allow-unsafe",), 1):
        pushed = up(*options)("push", "digits", str(source))
        assert pushed.exit_code == status, (options, pushed.stderr)
        assert status == 0 or "pickle" in pushed.stderr
        assert run("down", "--dir", str(directory)).exit_code == 0


@pytest.mark.chaos  # it starts suites again and again
def test_what_is_deleted_is_kept_as_long_as_was_said(up: Up, directory: Path, tmp_path: Path) -> None:
    path = models.save(models.mlp((4, 2)), tmp_path / "net.onnx")
    for options in ("--grace-s=0", "--collect-every-s=0"), ():
        client = up(*options)
        assert client("push", "digits", str(path)).exit_code == 0
        assert client("rm", "digits").exit_code == 0
        assert json.loads(client("gc", "--json").stdout)["purged"] == ["digits"]
        assert run("down", "--dir", str(directory)).exit_code == 0
