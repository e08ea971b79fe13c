"""What is read of a request: always what protobuf would read of it."""

from __future__ import annotations

import random

import numpy as np
import pytest

from modelyard.errors import InvalidInputError
from modelyard.oip import messages
from modelyard.oip.tensors import encode_request
from modelyard_scheduler.frontdoor import envelope
from modelyard_scheduler.frontdoor.envelope import Envelope, read_envelope
from tests.runners import request


def full(**parameters: int | str) -> messages.ModelInferRequest:
    asked = messages.ModelInferRequest.FromString(request(b"x", "mlp", "7", **parameters))
    asked.id = "some-id"
    asked.outputs.add(name="y")
    return asked


def test_names() -> None:
    assert read_envelope(full().SerializeToString()) == Envelope("mlp", "7")
    assert read_envelope(request(model="mlp")) == Envelope("mlp")


@pytest.mark.parametrize("size", [0, 1, 100, 127, 128, 20_000, 3_000_000])
def test_of_any_size(size: int) -> None:
    asked = encode_request("m" * 200, "", {"x": np.zeros(size, np.uint8)})
    assert read_envelope(asked.SerializeToString()) == envelope._walk(asked.SerializeToString()) == Envelope("m" * 200)


@pytest.mark.parametrize(("value", "read"), [(7, "7"), ("seven", "seven"), (0, ""), ("", "")])
def test_parameters_that_decide_the_instance(value: int | str, read: str) -> None:
    asked = full(priority=3, sequence_id=value, other="x").SerializeToString()
    assert read_envelope(asked) == Envelope("mlp", "7", sequence=read)
    assert read_envelope(full(routing_key=value).SerializeToString()).routing_key == read
    assert read_envelope(full(routing_key="k", sequence_id=value).SerializeToString()).stickiness == (read or "k")


def test_a_parameter_of_a_wrong_type_decides_nothing() -> None:
    asked = full()
    asked.parameters["sequence_id"].bool_param = True
    asked.parameters["routing_key"].double_param = 0.5
    assert read_envelope(asked.SerializeToString()).stickiness == ""
    asked.parameters["sequence_id"].uint64_param = (1 << 64) - 1
    assert read_envelope(asked.SerializeToString()).sequence == str((1 << 64) - 1)


def test_the_last_of_a_field_counts_wherever_it_is() -> None:
    asked = (
        request(model="first") + request(model="last", version="2", sequence_id=5) + request(model="", sequence_id=6)
    )
    assert read_envelope(asked) == Envelope("last", "2", sequence="6")


def test_more_fields_than_are_walked_over() -> None:
    asked = messages.ModelInferRequest(model_name="m", raw_input_contents=[b"x"] * (2 * envelope.MAX_FIELDS))
    assert read_envelope(asked.SerializeToString() + request(model="n")) == Envelope("n")


def test_fields_that_are_not_known_pass() -> None:
    for unknown in (b"\x40\x05", b"\x82\x01\x01x", b"\x45abcd", b"\x41abcdefgh", b"\x0b\x0c"):
        assert read_envelope(request(model="m") + unknown) == Envelope("m")


@pytest.mark.parametrize(
    "asked",
    [b"\x0a", b"\x0a\x05abc", b"\x0a\xff", b"\x0a\x02\xff\xff", b"\x02\x00", b"\xff" * 20, b"\x22\x01\xff\x0a\x01m"],
)
def test_what_is_no_request(asked: bytes) -> None:
    with pytest.raises(InvalidInputError, match=f"expected a ModelInferRequest, got {len(asked)} bytes|got 3 bytes"):
        read_envelope(asked)


def test_no_model() -> None:
    with pytest.raises(InvalidInputError, match="model_name: expected the name of a model, got an empty string"):
        read_envelope(request(model=""))


def test_it_reads_what_protobuf_reads_of_any_bytes() -> None:
    chance = random.Random(7)
    whole = full(sequence_id=9, routing_key="k").SerializeToString()
    for _ in range(3000):
        asked = bytearray(whole)
        for _ in range(chance.randint(1, 3)):
            asked[chance.randrange(len(asked))] = chance.randrange(256)
        data = bytes(asked[: chance.randint(1, len(asked))])
        try:
            expected = envelope._parsed(data)
        except InvalidInputError:
            continue  # of what is in a tensor only the runner takes notice
        if expected.model:
            assert read_envelope(data) == expected
