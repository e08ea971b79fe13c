from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from modelyard.cli.app import app
from modelyard.errors import InvalidInputError
from modelyard.v1 import registry_pb2 as pb
from tests.unit.fakes import FakeSuite


@pytest.fixture(autouse=True)
def events(fakes: FakeSuite) -> None:
    """What is told before the watch ends."""
    version = pb.Version(model="digits", version="1", format="onnx", size_bytes=2048, state=pb.ACTIVE)
    gone = pb.Version(model="digits", version="1", format="onnx", state=pb.DELETED)
    told: list[tuple[int, str, dict[str, Any]]] = [
        (5, "PUT", {"model": pb.Model(name="digits", state=pb.ACTIVE)}),
        (5, "PUT", {"version": version}),
        (6, "SYNCED", {}),
        (7, "PUT", {"alias": pb.Alias(name="prod", version="1")}),
        (8, "DELETE", {"alias": pb.Alias(name="prod")}),
        (9, "PUT", {"version": gone}),
        (10, "DELETE", {"version": pb.Version(model="digits", version="1")}),
        (11, "DELETE", {"model": pb.Model(name="digits")}),
        (12, "RESET", {}),
    ]
    for revision, kind, resource in told:
        name = "digits" if resource else ""
        fakes.registry.events.append(pb.WatchResponse(kind=kind, revision=revision, model_name=name, **resource))
    fakes.registry.failures["told"] = [InvalidInputError("that was all")]


def watch(fakes: FakeSuite, *arguments: str) -> list[str]:
    result = CliRunner(env={"MODELYARD_ADDRESS": fakes.address}).invoke(app, ["watch", *arguments])
    assert result.exit_code == 1
    assert "that was all" in result.stderr
    return result.stdout.splitlines()


def test_changes_are_told_as_they_come(fakes: FakeSuite) -> None:
    assert watch(fakes, "dig", "--from", "5") == [
        "5        model    digits",
        "5        version  digits@1: onnx, 2 KiB",
        "6        that is all there is; changes follow",
        "7        alias    digits@prod is 1",
        "8        alias    digits@prod deleted",
        "9        version  digits@1: onnx, 0 B, deleted",
        "10       version  digits@1 purged",
        "11       model    digits purged",
        "12       history is gone: forget what came before; all that is there follows",
    ]
    assert (fakes.registry.requests[-1].name_prefix, fakes.registry.requests[-1].start_revision) == ("dig", 5)


def test_each_change_is_a_line_of_json(fakes: FakeSuite) -> None:
    told = [json.loads(line) for line in watch(fakes, "--json")]
    assert [t["kind"] for t in told] == ["PUT", "PUT", "SYNCED", "PUT", "DELETE", "PUT", "DELETE", "DELETE", "RESET"]
    assert [t["type"] for t in told] == ["model", "version", "", "alias", "alias", "version", "version", "model", ""]
    assert all(list(t) == ["kind", "revision", "model", "type", "resource"] for t in told)
    assert told[1]["resource"]["size_bytes"] == 2048
