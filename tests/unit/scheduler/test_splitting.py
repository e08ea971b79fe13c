"""Requests split by rows, and responses put together."""

from __future__ import annotations

import numpy as np
import pytest

from modelyard.catalogue import Signature, TensorSpec
from modelyard.errors import ModelExecutionError
from modelyard.oip import messages
from modelyard.oip.tensors import decode_inputs, decode_response, encode_request
from modelyard_scheduler.frontdoor import splitting
from modelyard_scheduler.frontdoor.splitting import gather, least_bytes, part_sizes, split


@pytest.mark.parametrize(
    ("rows", "largest", "replicas", "sizes"),
    [
        (9, 8, 2, [5, 4]),
        (16, 8, 2, [8, 8]),
        (17, 8, 2, [6, 6, 5]),
        (1000, 8, 2, [125] * 8),
        (3, 1, 5, [1, 1, 1]),
    ],
)
def test_parts_are_even_and_few(rows: int, largest: int, replicas: int, sizes: list[int]) -> None:
    assert part_sizes(rows, largest, replicas) == sizes


def parsed(part: bytes) -> messages.ModelInferRequest:
    return messages.ModelInferRequest.FromString(part)


def test_raw_contents_are_cut_by_rows() -> None:
    x = np.arange(40, dtype=np.float32).reshape(10, 4)
    z = np.arange(10, dtype=np.int64)
    asked = encode_request("m", "2", {"x": x, "z": z}, ["y"])
    asked.id = "mine"
    asked.parameters["priority"].int64_param = 3
    parts = split(asked.SerializeToString(), 4, 2)
    assert [rows for rows, _ in parts] == [4, 3, 3]
    found = [decode_inputs(parsed(part)) for _, part in parts]
    for name, array in (("x", x), ("z", z)):
        np.testing.assert_array_equal(np.concatenate([f[name][1] for f in found]), array)
    for _, part in parts:
        read = parsed(part)
        assert (read.model_name, read.model_version, read.id) == ("m", "2", "mine")
        assert read.parameters["priority"].int64_param == 3
        assert [o.name for o in read.outputs] == ["y"]


def typed(datatype: str, field: str, values: list[object]) -> messages.ModelInferRequest:
    asked = messages.ModelInferRequest(model_name="m")
    tensor = asked.inputs.add(name="x", datatype=datatype, shape=[len(values) // 2, 2])
    getattr(tensor.contents, field).extend(values)
    return asked


@pytest.mark.parametrize(
    ("datatype", "field", "values"),
    [
        ("FP32", "fp32_contents", [float(i) for i in range(20)]),
        ("INT8", "int_contents", list(range(-10, 10))),
        ("BYTES", "bytes_contents", [b"x" * i for i in range(20)]),
        ("BOOL", "bool_contents", [i % 3 == 0 for i in range(20)]),
    ],
)
def test_typed_contents_are_cut_by_rows(datatype: str, field: str, values: list[object]) -> None:
    parts = split(typed(datatype, field, values).SerializeToString(), 4, 2)
    assert [rows for rows, _ in parts] == [4, 3, 3]
    found = [decode_inputs(parsed(part))["x"][1] for _, part in parts]
    assert np.concatenate(found).reshape(-1).tolist() == values


def broken() -> list[messages.ModelInferRequest]:
    rows = encode_request("m", "", {"x": np.zeros((10, 4), np.float32)})
    few = encode_request("m", "", {"x": np.zeros((4, 4), np.float32)})
    uneven = encode_request("m", "", {"x": np.zeros((10, 4), np.float32), "z": np.zeros((9, 1), np.float32)})
    scalar = encode_request("m", "", {"x": np.zeros((), np.float32)})
    text = encode_request("m", "", {"x": np.array([[b"a"]] * 10, object)})
    short, missing, unknown, shared, negative = (messages.ModelInferRequest() for _ in range(5))
    for request in (short, missing, unknown, shared, negative):
        request.CopyFrom(rows)
    short.raw_input_contents[0] = short.raw_input_contents[0][:-1]
    missing.inputs.add(name="z", datatype="FP32", shape=[10, 1])
    unknown.inputs[0].datatype = "FP99"
    shared.inputs[0].parameters["shared_memory_region"].string_param = "r"
    negative.inputs[0].shape[1] = -4
    nothing = messages.ModelInferRequest(model_name="m")
    return [few, uneven, scalar, text, short, missing, unknown, shared, negative, nothing]


@pytest.mark.parametrize("index", range(10))
def test_what_cannot_be_split_at_sight_is_not(index: int) -> None:
    assert split(broken()[index].SerializeToString(), 4, 2) == []


def response(array: np.ndarray[tuple[int, ...], np.dtype[np.float32]], *, raw: bool = True) -> bytes:
    answer = messages.ModelInferResponse(model_name="m", model_version="1", id="mine")
    answer.parameters["worker"].string_param = "w0"
    output = answer.outputs.add(name="y", datatype="FP32", shape=array.shape)
    if raw:
        answer.raw_output_contents.append(array.tobytes())
    else:
        output.contents.fp32_contents.extend(array.reshape(-1).tolist())
    return answer.SerializeToString()


@pytest.mark.parametrize("raw", [True, False])
def test_responses_are_put_together_in_order(raw: bool) -> None:
    array = np.arange(30, dtype=np.float32).reshape(10, 3)
    parts = [(end - begin, response(array[begin:end], raw=raw)) for begin, end in ((0, 4), (4, 7), (7, 10))]
    whole = messages.ModelInferResponse.FromString(gather(parts))
    np.testing.assert_array_equal(decode_response(whole)["y"], array)
    assert (whole.model_name, whole.id, whole.parameters["worker"].string_param) == ("m", "mine", "w0")


def test_responses_that_do_not_fit_together() -> None:
    one, two = np.zeros((4, 3), np.float32), np.zeros((4, 2), np.float32)
    with pytest.raises(ModelExecutionError, match="expected outputs alike"):
        gather([(4, response(one)), (4, response(two))])
    with pytest.raises(ModelExecutionError, match="expected outputs alike"):
        gather([(4, response(one)), (4, response(one, raw=False))])
    with pytest.raises(ModelExecutionError, match=r"output 'y' of a part: expected 4 rows, got shape \[3, 3\]"):
        gather([(4, response(one)), (4, response(one[:3]))])


def spec(datatype: str, *shape: int) -> TensorSpec:
    return TensorSpec("t", datatype, shape)


def test_how_long_a_request_is_that_may_have_to_be_split() -> None:
    assert least_bytes(Signature((spec("FP32", -1, 64),), (spec("FP32", -1, 10),)), 8) == 512
    assert least_bytes(Signature((spec("BYTES", -1, 2), spec("INT8", -1)), (spec("FP32", -1),)), 8) == 24
    assert least_bytes(Signature((spec("FP32", -1, -1),), (spec("FP32", -1),)), 8) == 8
    fixed, dynamic, ragged = spec("FP32", 4), spec("FP32", -1), spec("FP32", -1, -1)
    for inputs, outputs in (
        ((fixed,), (dynamic,)),
        ((dynamic,), (fixed,)),
        ((dynamic,), (dynamic, ragged)),
        ((), (dynamic,)),
        ((spec("FP32"),), ()),
    ):
        assert least_bytes(Signature(inputs, outputs), 8) is None


def test_a_large_request_of_few_rows_is_not_parsed_with_its_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed_bytes = []

    def parse(data: bytes) -> messages.ModelInferRequest:
        parsed_bytes.append(len(data))
        return parsed(data)

    monkeypatch.setattr(splitting, "parse_request", parse)
    asked = encode_request("m", "", {"x": np.zeros((4, 100_000), np.float32)}).SerializeToString()
    assert split(asked, 4, 2) == []
    assert len(split(asked, 2, 2)) == 2
    assert [size < 100 for size in parsed_bytes] == [True, True, False]
