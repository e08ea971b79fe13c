"""Any request, of every RPC, at the front door and at a runner: no process dies, and nothing is answered UNKNOWN.

INTERNAL is the answer where a model's own code fails, which that of these models does not.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelyard import Client
from modelyard.oip import messages
from modelyard.oip.tensors import decode_response, encode_request
from modelyard.rpc.channel import method_path
from tests.conformance.conftest import Served
from tests.conformance.fuzzing import almost_good, methods, serialized
from tests.suites import RunningSuite

TIMEOUT_S = 30.0
UNARY = [m for m in methods() if m.name != "ModelStreamInfer"]
STREAM = methods(["ModelStreamInfer"])[0]
INFER = methods(["ModelInfer"])[0]
BROKEN = {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL}
few = settings(max_examples=30, deadline=None, database=None, suppress_health_check=list(HealthCheck))
more = settings(few, max_examples=200)


@dataclass(frozen=True)
class Target:
    """A server, and a model that it serves. `harmless` are names that may be loaded and unloaded: of no models."""

    channel: grpc.Channel
    model: str
    harmless: tuple[str, ...]

    def status(self, method: str, request: bytes) -> grpc.StatusCode:
        """How a unary call ends."""
        call = self.channel.unary_unary(method, None, None).future(request, timeout=TIMEOUT_S)
        assert call.code() not in BROKEN, call.details()
        return call.code()

    def converse(self, requests: list[bytes]) -> list[messages.ModelStreamInferResponse]:
        """The answers of a stream."""
        answers = self.channel.stream_stream(method_path(STREAM), None, None)(iter(requests), timeout=TIMEOUT_S)
        return [messages.ModelStreamInferResponse.FromString(answer) for answer in answers]

    def good(self, request_id: str = "") -> bytes:
        """A request that is answered."""
        request = encode_request(self.model, "", {"x": np.ones((1, 64), np.float32)})
        request.id = request_id
        return request.SerializeToString()


@pytest.fixture(scope="module", params=["front door", "runner"])
def target(request: pytest.FixtureRequest, served: Served, running_suite: RunningSuite) -> Iterator[Target]:
    """Both servers, one after the other; every process must be the same afterwards."""
    with Client(served.address) as client:
        endpoint = client.deployment(served.digits).instances[0].endpoint
    address = served.address if request.param == "front door" else endpoint
    before = {process.pid for process in running_suite.tree()}
    with grpc.insecure_channel(address) as channel:
        found = Target(channel, served.digits, (f"no-{uuid.uuid4().hex}",))
        yield found
        _restore(found)
    assert {process.pid for process in running_suite.tree()} == before


def _restore(target: Target) -> None:
    """Undo what a call may have changed."""
    log = messages.LogSettingsRequest()
    for name in ("log_info", "log_warning", "log_error"):
        log.settings[name].bool_param = True
    log.settings["log_verbose_level"].uint32_param = 0
    target.status("/inference.GRPCInferenceService/LogSettings", log.SerializeToString())
    target.status("/inference.GRPCInferenceService/SystemSharedMemoryUnregister", b"")


@pytest.mark.parametrize("method", UNARY, ids=lambda m: m.name)
@few
@given(data=st.data())
def test_no_unary_request_is_unknown(target: Target, method: object, data: st.DataObject) -> None:
    descriptor = next(m for m in UNARY if m is method)
    names = target.harmless if descriptor.name.startswith("Repository") else (target.model, *target.harmless)
    target.status(method_path(descriptor), data.draw(serialized(descriptor, names)))


@more
@given(data=st.data())
def test_no_call_that_is_almost_good_is_unknown(target: Target, data: st.DataObject) -> None:
    target.status(method_path(INFER), data.draw(almost_good(target.model)))


@few
@given(data=st.data())
def test_every_message_of_a_stream_is_answered(target: Target, data: st.DataObject) -> None:
    one = serialized(STREAM, (target.model, *target.harmless)) | almost_good(target.model)
    requests = data.draw(st.lists(one, max_size=8))
    answers = target.converse([*requests, target.good("the last")])
    assert len(answers) == len(requests) + 1
    last = [a for a in answers if a.infer_response.id == "the last" and not a.error_message]
    assert [decode_response(a.infer_response)["y"].shape for a in last] == [(1, 10)]
    assert [a.error_message for a in answers if a.error_message.startswith("internal error")] == []


def test_good_calls_are_answered_afterwards(target: Target) -> None:
    assert target.status(method_path(INFER), target.good()) is grpc.StatusCode.OK
