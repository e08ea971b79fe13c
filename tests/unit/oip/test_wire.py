import pytest

from modelyard.oip import messages
from modelyard.oip.wire import MAX_FIELDS, SMALL_BYTES, split, streamed, varint, without_tensors


def request(tensor: bytes) -> bytes:
    made = messages.ModelInferRequest(model_name="m", raw_input_contents=[tensor])
    made.parameters["sequence_id"].int64_param = 7
    return made.SerializeToString()


def test_a_small_request_comes_back_as_it_is() -> None:
    small = request(b"1234")
    assert without_tensors(small) is small


def test_of_a_large_request_all_but_the_tensors_is_left() -> None:
    assert without_tensors(request(bytes(SMALL_BYTES))) == request(b"")[:-2]


def test_fields_are_found_wherever_they_stand() -> None:
    tensors = messages.ModelInferRequest(raw_input_contents=[bytes(SMALL_BYTES)]).SerializeToString()
    assert without_tensors(tensors + request(b"")) == request(b"")[:-2]


@pytest.mark.parametrize("ending", [b"\x80" * 30, b"\xff", b"\x0f", b"\x3a\xff\xff\xff\x7f", b"\x0d\x00"])
def test_what_is_no_request_comes_back_as_it_is(ending: bytes) -> None:
    broken = request(bytes(SMALL_BYTES)) + ending
    assert without_tensors(broken) is broken


def test_a_request_of_many_fields_comes_back_as_it_is() -> None:
    many = b"\x12\x00" * SMALL_BYTES
    assert without_tensors(many) is many
    assert split(many[: 2 * MAX_FIELDS]) == (many[: 2 * MAX_FIELDS], [])
    assert split(many[: 2 * MAX_FIELDS + 2]) is None


@pytest.mark.parametrize("odd", [b"\x38\x01", b"\x7b\x7c", b"\x3a\x81\x00a", b"\xba\x00\x01a"])
def test_what_nobody_writes_is_left_to_protobuf(odd: bytes) -> None:
    data = request(b"1234")
    assert split(data) == (request(b"")[:-2], [memoryview(b"1234")])
    assert split(data + odd) is None


@pytest.mark.parametrize("size", [0, 1, 127, 128, 300, 16_383, 16_384, 1 << 21])
def test_a_response_is_wrapped_as_protobuf_would(size: int) -> None:
    response = messages.ModelInferResponse(id="a", raw_output_contents=[bytes(size)])
    wrapped = messages.ModelStreamInferResponse(infer_response=response)
    assert streamed(response.SerializeToString()) == wrapped.SerializeToString(deterministic=True)


def test_varints() -> None:
    assert [varint(n) for n in (0, 127, 128, 300)] == [b"\x00", b"\x7f", b"\x80\x01", b"\xac\x02"]
