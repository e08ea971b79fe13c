"""A request against a signature: every way in which it may not fit, and what the message says."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from modelyard.catalogue import Signature, TensorSpec
from modelyard.errors import InvalidInputError
from modelyard.oip import messages
from modelyard.oip.tensors import Array, encode_request
from modelyard_worker.runner.requests import LARGE_BYTES, Request, Requests, check_batching

SIGNATURE = Signature(
    (TensorSpec("a", "FP32", (-1, 2)), TensorSpec("b", "INT8", (3,))),
    (TensorSpec("y", "FP32", (-1, 2)), TensorSpec("n", "INT64", ())),
)
BATCHED = Signature(
    (TensorSpec("a", "FP32", (-1, -1)), TensorSpec("b", "BYTES", (-1,))), (TensorSpec("y", "FP32", (-1, 2)),)
)
A, B = np.ones((4, 2), np.float32), np.array([1, 2, 3], np.int8)
Message = messages.ModelInferRequest


@pytest.fixture
def requests() -> Requests:
    return Requests(SIGNATURE, batched=False)


def good() -> Message:
    return encode_request("m", "", {"a": A, "b": B})


def typed() -> Message:
    request = Message(model_name="m")
    request.inputs.add(name="a", datatype="FP32", shape=[1, 2]).contents.fp32_contents.extend([1, 2])
    request.inputs.add(name="b", datatype="INT8", shape=[3]).contents.int_contents.extend([1, 2, 3])
    return request


def values(request: Request) -> dict[str, object]:
    return {name: array.tolist() for name, array in request.inputs.items()}


def numbered(number: int, request_id: str = "") -> Message:
    """Requests that look the same."""
    request = encode_request("m", "3", {"a": np.full((4, 2), number, np.float32), "b": B + number})
    request.id = request_id
    return request


def test_requests_that_look_the_same_share_a_form_and_have_their_own_id_and_values(requests: Requests) -> None:
    ids = ["", "a", "x" * 100, "7"]
    found = [requests.read(numbered(n, ids[n % 4]).SerializeToString()) for n in range(8)]
    assert [r.id.decode() for r in found] == ids * 2
    assert all(r.form is found[0].form for r in found)
    for number, request in enumerate(found):
        assert values(request) == {"a": [[number, number]] * 4, "b": [1 + number, 2 + number, 3 + number]}


def renamed(request: Message) -> None:
    request.model_name = "n"


def with_output(request: Message) -> None:
    request.outputs.add(name="y")


def with_priority(request: Message) -> None:
    request.parameters["priority"].int64_param = 2


def other_order(request: Message) -> None:
    request.inputs.reverse()
    request.raw_input_contents.reverse()


@pytest.mark.parametrize("change", [renamed, with_output, with_priority, other_order])
def test_a_request_that_looks_another_way_has_a_form_of_its_own(
    change: Callable[[Message], None], requests: Requests
) -> None:
    first = requests.read(numbered(1).SerializeToString())
    request = numbered(2)
    change(request)
    other = requests.read(request.SerializeToString())
    assert other.form is not first.form
    assert values(other) == {"a": [[2, 2]] * 4, "b": [3, 4, 5]}
    assert requests.read(request.SerializeToString()).form is other.form


def test_an_id_that_is_no_text_is_refused_however_well_the_rest_is_known(requests: Requests) -> None:
    data = numbered(1, "id").SerializeToString()
    requests.read(data)
    with pytest.raises(InvalidInputError, match="bytes that are none"):
        requests.read(data.replace(b"id", b"\xff\xfe"))
    assert requests.read(data.replace(b"id", "é".encode())).id == "é".encode()


def test_a_bad_request_that_resembles_a_good_one_is_refused(requests: Requests) -> None:
    data = numbered(1).SerializeToString()
    requests.read(data)
    for cut in range(len(data)):
        with pytest.raises(InvalidInputError):
            requests.read(data[:cut])
    other_field = data.replace(b"\x3a\x03", b"\x42\x03")
    with pytest.raises(InvalidInputError, match="expected one entry for each of the 2 inputs, got 1"):
        requests.read(other_field)
    longer = numbered(1)
    longer.raw_input_contents[0] += b"\0"
    longer.raw_input_contents[1] = longer.raw_input_contents[1][:-1]
    with pytest.raises(InvalidInputError, match="input 'a': expected 32 bytes"):
        requests.read(longer.SerializeToString())


def field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2, len(content)]) + content


ONE = Signature((TensorSpec("x", "INT8", (2,)),), (TensorSpec("y", "INT8", (2,)),))
HEAD = Message(model_name="m", inputs=[Message.InferInputTensor(name="x", datatype="INT8", shape=[2])])


@pytest.mark.parametrize("number", [15, 4])
def test_what_stands_behind_the_contents_is_not_taken_for_them(number: int) -> None:
    requests = Requests(ONE, batched=False)
    for other in (b"\x01\x01", b"\x05\x05"):  # of an unknown field, or of a parameter's text
        raw = field(7, other)
        last = raw if number == 15 else field(1, b"k") + field(2, field(3, raw))
        data = HEAD.SerializeToString() + field(7, b"\x01\x01") + field(number, last)
        assert values(requests.read(data)) == {"x": [1, 1]}


def test_of_several_ids_the_last_counts() -> None:
    requests = Requests(ONE, batched=False)
    names, inputs = field(1, b"m"), HEAD.SerializeToString()[len(field(1, b"m")) :]
    for first, last in ((b"b", b"b"), (b"c", b"b"), (b"", b""), (b"c", b"")):
        data = names + field(3, first) + field(3, last) + inputs + field(7, b"\x01\x01")
        assert requests.read(data).id == last


@pytest.mark.parametrize("rows", [1, LARGE_BYTES])
@pytest.mark.parametrize("odd", [b"\x7b\x7c", b"\x38\x01", b"\x12\x00" * 1000])
def test_large_and_small_requests_are_judged_alike(odd: bytes, rows: int, requests: Requests) -> None:
    data = encode_request("m", "", {"a": np.ones((rows, 2), np.float32), "b": B}).SerializeToString() + odd
    assert requests.read(data).inputs["a"].shape == (rows, 2)


def test_a_large_request_is_not_copied_and_a_view_is_as_good_as_bytes(requests: Requests) -> None:
    rows = LARGE_BYTES // 4
    for number in range(2):
        a = np.full((rows, 2), number, np.float32)
        data = encode_request("m", "", {"a": a, "b": B}).SerializeToString()
        for buffer in (data, memoryview(b"some" + data)[4:]):
            request = requests.read(buffer)
            assert np.array_equal(request.inputs["a"], a)
            assert np.shares_memory(request.inputs["a"], np.frombuffer(buffer, np.uint8))


@pytest.mark.parametrize("cut", [1, 10, 50, -1])
def test_a_large_request_that_ends_early_is_refused(cut: int, requests: Requests) -> None:
    data = encode_request("m", "", {"a": np.ones((LARGE_BYTES, 2), np.float32), "b": B}).SerializeToString()
    with pytest.raises(InvalidInputError):
        requests.read(data + b"\x3a\x05abc" if cut < 0 else data[: LARGE_BYTES + cut])


def batched(rows: int, columns: int, **more: Array) -> Message:
    strings = np.array([b"x"] * rows, object)
    return encode_request("m", "", {"a": np.ones((rows, columns), np.float32), "b": strings, **more})


def test_calls_that_differ_in_their_rows_alone_are_of_one_kind() -> None:
    requests = Requests(BATCHED, batched=True)
    read = [requests.read(batched(*shape).SerializeToString()) for shape in ((1, 2), (3, 2), (1, 4), (2, 4))]
    assert [r.form.rows for r in read] == [1, 3, 1, 2]
    kinds = [r.form.kind for r in read]
    assert kinds[0] is kinds[1] is not None
    assert kinds[2] is kinds[3] is not kinds[0]


def test_what_cannot_be_stacked_is_of_no_kind() -> None:
    requests = Requests(BATCHED, batched=True)
    other_rows = encode_request("m", "", {"a": np.ones((2, 2), np.float32), "b": np.array([b"x"], object)})
    in_sequence = batched(1, 2)
    in_sequence.parameters["sequence_id"].int64_param = 7
    for request in (other_rows, batched(0, 2), in_sequence):
        assert requests.read(request.SerializeToString()).form.kind is None
    assert Requests(BATCHED, batched=False).read(batched(1, 2).SerializeToString()).form.kind is None


def test_a_signature_that_cannot_be_batched_is_refused() -> None:
    check_batching(BATCHED)
    with pytest.raises(InvalidInputError, match=r"max_batch_size: expected 0, because .* of input b: INT8 \[3\]"):
        check_batching(SIGNATURE)


def test_bad_parameters_are_refused(requests: Requests) -> None:
    request = good()
    request.parameters["priority"].int64_param = 10
    with pytest.raises(InvalidInputError, match="parameter 'priority'"):
        requests.read(request.SerializeToString())
    request = good()
    request.outputs.add(name="y").parameters["classification"].int64_param = 0
    with pytest.raises(InvalidInputError, match="output 'y': parameter 'classification'"):
        requests.read(request.SerializeToString())


def missing(request: Message) -> None:
    del request.inputs[1], request.raw_input_contents[1]


def nothing(request: Message) -> None:
    request.Clear()
    request.model_name = "m"


def extra(request: Message) -> None:
    request.inputs.add(name="c", datatype="FP32", shape=[1])
    request.raw_input_contents.append(b"\0" * 4)


def misnamed(request: Message) -> None:
    request.inputs[0].name = "A"


def twice(request: Message) -> None:
    request.inputs[1].CopyFrom(request.inputs[0])
    request.raw_input_contents[1] = request.raw_input_contents[0]


def wrong_datatype(request: Message) -> None:
    request.inputs[1].datatype = "UINT8"


def unknown_datatype(request: Message) -> None:
    request.inputs[1].datatype = "FLOAT"


def wrong_rank(request: Message) -> None:
    request.inputs[0].shape[:] = [8]


def wrong_dimension(request: Message) -> None:
    request.inputs[0].shape[:] = [2, 4]


def negative_dimension(request: Message) -> None:
    request.inputs[0].shape[:] = [-1, 2]


def short_bytes(request: Message) -> None:
    request.raw_input_contents[0] = request.raw_input_contents[0][:-1]


def long_bytes(request: Message) -> None:
    request.raw_input_contents[0] += b"\0"


def raw_missing_one(request: Message) -> None:
    del request.raw_input_contents[1]


def both(request: Message) -> None:
    request.inputs[0].contents.fp32_contents.extend([1.0] * 8)


def unknown_output(request: Message) -> None:
    request.outputs.add(name="z")


EXPECTED = "expected a: FP32 [-1, 2]; b: INT8 [3]"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (missing, f"missing input 'b'; {EXPECTED}, got 'a'"),
        (nothing, f"missing input 'a'; {EXPECTED}, got none"),
        (extra, f"unexpected input 'c'; {EXPECTED}"),
        (misnamed, f"unexpected input 'A'; {EXPECTED}"),
        (twice, "input 'a': expected once, got twice"),
        (wrong_datatype, "input 'b': expected datatype INT8, got UINT8"),
        (unknown_datatype, "input 'b': expected a datatype of BOOL, INT8,"),
        (wrong_rank, "input 'a': expected shape [-1, 2], got [8]"),
        (wrong_dimension, "input 'a': expected shape [-1, 2], got [2, 4]"),
        (negative_dimension, "input 'a': expected a shape without negative dimensions, got [-1, 2]"),
        (short_bytes, "input 'a': expected 32 bytes for FP32 [4, 2], got 31"),
        (long_bytes, "input 'a': expected 32 bytes for FP32 [4, 2], got 33"),
        (raw_missing_one, "raw_input_contents: expected one entry for each of the 2 inputs, got 1"),
        (both, "input 'a': expected raw or typed contents, got both"),
        (unknown_output, "unexpected output 'z'; expected of y, n"),
    ],
)
def test_what_does_not_fit_is_refused(spoil: Callable[[Message], None], message: str, requests: Requests) -> None:
    request = good()
    spoil(request)
    with pytest.raises(InvalidInputError) as caught:
        requests.read(request.SerializeToString())
    assert caught.value.message.startswith(message)


def too_few(request: Message) -> None:
    request.inputs[0].shape[:] = [2, 2]


def wrong_field(request: Message) -> None:
    request.inputs[0].contents.Clear()
    request.inputs[0].contents.int_contents.extend([1, 2])


def two_fields(request: Message) -> None:
    request.inputs[0].contents.int_contents.append(1)


def out_of_range(request: Message) -> None:
    request.inputs[1].contents.int_contents[0] = 128


def no_contents(request: Message) -> None:
    request.inputs[0].ClearField("contents")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (too_few, "input 'a': expected 4 elements in fp32_contents for FP32 [2, 2], got 2"),
        (wrong_field, "input 'a': expected fp32_contents for FP32, got int_contents"),
        (two_fields, "input 'a': expected fp32_contents for FP32, got "),
        (out_of_range, "input 'b': expected values in the range of INT8, got 128"),
        (no_contents, "input 'a': expected 2 elements in fp32_contents for FP32 [1, 2], got 0"),
    ],
)
def test_typed_contents_that_do_not_fit_are_refused(
    spoil: Callable[[Message], None], message: str, requests: Requests
) -> None:
    request = typed()
    spoil(request)
    with pytest.raises(InvalidInputError) as caught:
        requests.read(request.SerializeToString())
    assert caught.value.message.startswith(message)


def test_bytes_that_are_no_request_are_refused(requests: Requests) -> None:
    with pytest.raises(InvalidInputError, match="expected a ModelInferRequest, got 3 bytes that are none"):
        requests.read(b"\xff\xff\xff")
