"""The model repository: through an unmodified tritonclient, and as KServe's message asks for a load."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from modelyard import Client
from modelyard.oip import messages
from modelyard.rpc.channel import method_path
from tests.conformance.conftest import Served
from tests.conformance.foreign import run_program

TIMEOUT_S = 60.0
METHODS = messages.SERVICE.methods_by_name


@pytest.fixture(scope="module")
def said(served: Served) -> Any:
    """One run of tests/conformance/clients/triton_repository.py."""
    return json.loads(run_program("triton_repository", served.address, served.digits, served.idle))


def test_the_index_lists_what_is_deployed_and_what_is_not(said: Any, served: Served) -> None:
    assert said["before"] == {
        served.digits: {"name": served.digits, "version": "1", "state": "READY"},
        served.idle: {"name": served.idle, "version": "1", "state": "UNAVAILABLE", "reason": "not deployed"},
    }


def test_a_model_that_was_loaded_answers(said: Any, served: Served) -> None:
    assert said["loaded"]["ready"]
    assert said["loaded"]["index"][served.idle]["state"] == "READY"
    assert said["loaded"]["y"] == [1, 10]


def test_a_model_that_was_unloaded_does_not(said: Any, served: Served) -> None:
    assert not said["unloaded"]["ready"]
    assert said["unloaded"]["index"][served.idle]["state"] == "UNAVAILABLE"


@pytest.mark.parametrize(
    ("case", "status", "words"),
    [
        ("load", "NOT_FOUND", "no-such-model"),
        ("unload", "NOT_FOUND", "no-such-model"),
        ("again", "NOT_FOUND", "conformance-idle"),
        ("config", "INVALID_ARGUMENT", "'config': expected one of version"),
        ("infer", "FAILED_PRECONDITION", "conformance-idle"),
    ],
)
def test_refusals(said: Any, case: str, status: str, words: str) -> None:
    assert said["refused"][case]["status"] == status, said["refused"][case]
    assert words in said["refused"][case]["message"]


@pytest.fixture
def channel(served: Served) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(served.address) as opened:
        yield opened


def call(channel: grpc.Channel, method: str, request: bytes) -> tuple[grpc.StatusCode, str]:
    """The status of a call, and its details."""
    made = channel.unary_unary(method_path(METHODS[method]), None, None).future(request, timeout=TIMEOUT_S)
    return made.code(), made.details()


def test_kserve_names_the_model_in_another_field(channel: grpc.Channel, served: Served) -> None:
    """KServe's RepositoryModelLoadRequest has `model_name = 1`, where Triton's has `repository_name`."""
    name = served.idle.encode()
    request = b"\x0a" + bytes([len(name)]) + name
    assert call(channel, "RepositoryModelLoad", request) == (grpc.StatusCode.OK, "")
    with Client(served.address) as client:
        assert client.deployment(served.idle).ready_replicas == 1
    assert call(channel, "RepositoryModelUnload", request) == (grpc.StatusCode.OK, "")
    assert served.idle not in [m.name for m in ready(channel)]


def ready(channel: grpc.Channel) -> list[messages.RepositoryIndexResponse.ModelIndex]:
    """What is listed of what is READY."""
    request = messages.RepositoryIndexRequest(ready=True).SerializeToString()
    answer = channel.unary_unary(method_path(METHODS["RepositoryIndex"]), None, None)(request, timeout=TIMEOUT_S)
    return list(messages.RepositoryIndexResponse.FromString(answer).models)


def test_only_what_is_ready_is_listed_where_that_is_asked_for(channel: grpc.Channel, served: Served) -> None:
    listed = ready(channel)
    assert served.digits in [m.name for m in listed]
    assert {m.state for m in listed} == {"READY"}


def test_there_is_one_repository(channel: grpc.Channel, served: Served) -> None:
    for method, request in (
        ("RepositoryIndex", messages.RepositoryIndexRequest(repository_name="r")),
        ("RepositoryModelLoad", messages.RepositoryModelLoadRequest(repository_name="r", model_name=served.digits)),
        ("RepositoryModelUnload", messages.RepositoryModelUnloadRequest(repository_name="r", model_name="m")),
    ):
        status, details = call(channel, method, request.SerializeToString())
        assert status is grpc.StatusCode.UNIMPLEMENTED
        assert "there is one repository" in details


def test_a_version_can_be_named(channel: grpc.Channel, served: Served) -> None:
    request = messages.RepositoryModelLoadRequest(model_name=served.digits)
    request.parameters["version"].string_param = "1"
    assert call(channel, "RepositoryModelLoad", request.SerializeToString())[0] is grpc.StatusCode.OK
    request.parameters["version"].string_param = "99"
    status, details = call(channel, "RepositoryModelLoad", request.SerializeToString())
    assert (status, "99" in details) == (grpc.StatusCode.NOT_FOUND, True)


def test_no_model_is_named(channel: grpc.Channel) -> None:
    for method in ("RepositoryModelLoad", "RepositoryModelUnload"):
        assert call(channel, method, b"")[0] is grpc.StatusCode.INVALID_ARGUMENT
