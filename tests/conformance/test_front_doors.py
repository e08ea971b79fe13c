"""Two front doors on one port: what one is told, both answer."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from modelyard.oip import messages
from modelyard.rpc.channel import method_path
from tests.conformance.conftest import Served

CONNECTIONS = 12
"""Each gets one of the two by chance: that all get the same one happens once in 2,048 times, and fails no test."""
TIMEOUT_S = 30.0
METHODS = messages.SERVICE.methods_by_name


class Doors:
    """Connections of their own to the same address."""

    def __init__(self, address: str) -> None:
        own = [("grpc.use_local_subchannel_pool", 1)]
        self.channels = [grpc.insecure_channel(address, own) for _ in range(CONNECTIONS)]

    def ask(self, index: int, name: str, request: Any) -> Any:
        """Make a call on one of the connections."""
        method = self.channels[index].unary_unary(method_path(METHODS[name]), None, None)
        answer: Any = getattr(messages, f"{name}Response")
        return answer.FromString(method(request.SerializeToString(), timeout=TIMEOUT_S))

    def answers(self, name: str, request: Any) -> list[str]:
        """The different answers that the connections get."""
        return sorted({str(self.ask(index, name, request)) for index in range(CONNECTIONS)})


@pytest.fixture
def doors(served: Served) -> Iterator[Doors]:
    opened = Doors(served.address)
    yield opened
    for channel in opened.channels:
        channel.close()


def test_statistics_configuration_and_index_are_the_same(doors: Doors, served: Served) -> None:
    asked = {
        "ModelStatistics": messages.ModelStatisticsRequest(name=served.digits),
        "ModelConfig": messages.ModelConfigRequest(name=served.digits),
        "ModelMetadata": messages.ModelMetadataRequest(name=served.digits),
        "RepositoryIndex": messages.RepositoryIndexRequest(),
        "ServerMetadata": messages.ServerMetadataRequest(),
    }
    assert {name: len(doors.answers(name, request)) for name, request in asked.items()} == dict.fromkeys(asked, 1)


def test_regions_are_registered_with_both(doors: Doors, served: Served) -> None:
    key = f"modelyard-test-{uuid.uuid4().hex}"
    memory = Path("/dev/shm", key)
    memory.write_bytes(bytes(256))
    try:
        register = messages.SystemSharedMemoryRegisterRequest(name=key, key=f"/{key}", byte_size=256)
        doors.ask(0, "SystemSharedMemoryRegister", register)
        request = messages.ModelInferRequest(model_name=served.digits)
        tensor = request.inputs.add(name="x", datatype="FP32", shape=[1, 64])
        tensor.parameters["shared_memory_region"].string_param = key
        tensor.parameters["shared_memory_byte_size"].int64_param = 256
        outputs = {doors.ask(n, "ModelInfer", request).raw_output_contents[0] for n in range(CONNECTIONS)}
        assert [len(output) for output in outputs] == [40]
        status = messages.SystemSharedMemoryStatusRequest(name=key)
        assert len(doors.answers("SystemSharedMemoryStatus", status)) == 1
    finally:
        doors.ask(1, "SystemSharedMemoryUnregister", messages.SystemSharedMemoryUnregisterRequest(name=key))
        memory.unlink()
    assert key not in str(doors.answers("SystemSharedMemoryStatus", messages.SystemSharedMemoryStatusRequest()))


def test_settings_are_those_of_both(doors: Doors) -> None:
    for rate in ("7", "1000"):
        change = messages.TraceSettingRequest()
        change.settings["trace_rate"].value.append(rate)
        doors.ask(0, "TraceSetting", change)
        answers = [doors.ask(n, "TraceSetting", messages.TraceSettingRequest()) for n in range(CONNECTIONS)]
        assert {a.settings["trace_rate"].value[0] for a in answers} == {rate}
