"""The command line against a running suite."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from modelyard import Client
from modelyard.cli.app import app
from tests.suites import RunningSuite

PREFIX = "cli-"


@pytest.fixture
def command(running_suite: RunningSuite) -> Iterator[Callable[..., Any]]:
    """Run a command on the suite and return its result; models of a name that begins with `cli-` are purged after."""
    runner = CliRunner(env={"MODELYARD_ADDRESS": running_suite.address})
    yield lambda *arguments: runner.invoke(app, arguments)
    with Client(running_suite.address) as client:
        for deployed in client.deployments():
            if deployed.model.startswith(PREFIX):
                client.undeploy(deployed.model, deployed.version)
        for model in client.models(PREFIX, show_deleted=True):
            client.delete_model(model.name, purge=True)


@pytest.fixture
def say(command: Callable[..., Any]) -> Callable[..., str]:
    """Run a command that must succeed; return what it prints, with single blanks."""

    def invoke(*arguments: str) -> str:
        result = command(*arguments)
        assert (result.exit_code, result.stderr) == (0, "")
        return "\n".join(" ".join(line.split()) for line in result.stdout.splitlines())

    return invoke


@pytest.fixture
def run(command: Callable[..., Any]) -> Callable[..., Any]:
    """Run a command that must succeed; return its JSON."""

    def invoke(*arguments: str) -> Any:
        result = command(*arguments, "--json")
        assert (result.exit_code, result.stderr) == (0, "")
        return json.loads(result.stdout)

    return invoke


@pytest.fixture
def fail(command: Callable[..., Any]) -> Callable[..., str]:
    """Run a command that must fail; return its one line on standard error."""

    def invoke(*arguments: str) -> str:
        result = command(*arguments)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1
        return str(result.stderr.removeprefix("error: ").rstrip())

    return invoke
