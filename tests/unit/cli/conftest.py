"""The command line against a suite in a thread of this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from modelyard.cli.app import app
from tests.unit.fakes import FakeSuite, serve_in_thread


@pytest.fixture(scope="module")
def server() -> Iterator[FakeSuite]:
    with serve_in_thread() as serving:
        yield serving


@pytest.fixture
def fakes(server: FakeSuite) -> FakeSuite:
    server.registry.clear()
    server.jobs.clear()
    for part in (server.scheduler, server.inference):
        part.failures.clear()
        part.calls.clear()
        part.tenants.clear()
    server.scheduler.states = [("READY", "")]
    server.inference.datatype, server.inference.shape = "FP32", [-1, 2]
    return server


@pytest.fixture
def run(fakes: FakeSuite) -> Callable[..., str]:
    """Run a command and return its standard output; fail unless it succeeds without a word on standard error."""

    def invoke(*arguments: str) -> str:
        result = CliRunner(env={"MODELYARD_ADDRESS": fakes.address}).invoke(app, arguments)
        assert (result.exit_code, result.stderr) == (0, "")
        return result.stdout

    return invoke


@pytest.fixture
def run_json(run: Callable[..., str]) -> Callable[..., Any]:
    return lambda *arguments: json.loads(run(*arguments, "--json"))


@pytest.fixture
def fail(fakes: FakeSuite) -> Callable[..., str]:
    """Run a command that must fail and return its one line on standard error."""

    def invoke(*arguments: str) -> str:
        result = CliRunner(env={"MODELYARD_ADDRESS": fakes.address}).invoke(app, arguments)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1
        return result.stderr

    return invoke


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"not looked into")
    return str(path)
