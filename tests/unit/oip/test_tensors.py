import random
import struct
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from modelyard.errors import InvalidInputError
from modelyard.oip import messages, tensors
from modelyard.oip.datatypes import BF16_STORAGE, DATATYPES, datatype, datatype_of

FIXED = [row for row in DATATYPES.values() if row.name not in {"BYTES", "BF16"}]
TYPED = [row for row in DATATYPES.values() if row.contents is not None]
SHAPES: list[tuple[int, ...]] = [(), (0,), (1,), (7,), (2, 3), (0, 4), (1, 1, 1), (2, 3, 4), (5, 0, 2)]


def sample(name: str, shape: tuple[int, ...], chance: random.Random) -> tensors.Array:
    """Arrays with the extreme values of their datatype among others."""
    count = int(np.prod(shape))
    if name == "BYTES":
        array = np.empty(count, object)
        array[:] = [chance.randbytes(chance.choice([0, 1, 3, 300])) for _ in range(count)]
        return array.reshape(shape)
    dtype = DATATYPES[name].dtype
    array = np.frombuffer(chance.randbytes(count * dtype.itemsize), dtype).copy()
    if name == "BOOL":
        array = np.array([chance.random() < 0.5 for _ in range(count)], dtype)
    if dtype.kind in "iu" and count > 1:
        limits = np.iinfo(dtype.name)
        array[:2] = [limits.min, limits.max]
    if dtype.kind == "f" and count > 2:
        array[:3] = [np.nan, np.inf, -0.0]
    return array.reshape(shape)


def same(left: tensors.Array, right: tensors.Array) -> bool:
    """Equal in shape, type and every bit."""
    if left.shape != right.shape or left.dtype != right.dtype:
        return False
    return left.tolist() == right.tolist() if left.dtype == object else left.tobytes() == right.tobytes()


def request(name: str, shape: list[int], **contents: Any) -> messages.ModelInferRequest:
    made = messages.ModelInferRequest(model_name="m")
    made.inputs.add(name="x", datatype=name, shape=shape).contents.MergeFrom(messages.InferTensorContents(**contents))
    return made


def raw_request(name: str, shape: list[int], *raw: bytes) -> messages.ModelInferRequest:
    made = messages.ModelInferRequest(model_name="m", raw_input_contents=raw)
    made.inputs.add(name="x", datatype=name, shape=shape)
    return made


def refusal(made: messages.ModelInferRequest) -> str:
    with pytest.raises(InvalidInputError) as refused:
        tensors.decode_inputs(made)
    return refused.value.message


@pytest.mark.parametrize("name", DATATYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_raw_contents_come_back_bit_by_bit(name: str, shape: tuple[int, ...]) -> None:
    chance = random.Random(f"{name}{shape}")
    for _ in range(5):
        array = sample(name, shape, chance)
        raw = tensors.to_raw(array, name)
        assert same(tensors.from_raw("x", name, shape, raw), array)
        ((kind, decoded),) = tensors.decode_inputs(raw_request(name, list(shape), raw)).values()
        assert kind == name
        assert same(decoded, array)


@pytest.mark.parametrize("row", TYPED, ids=lambda row: row.name)
@pytest.mark.parametrize("shape", SHAPES)
def test_typed_contents_come_back_bit_by_bit(row: Any, shape: tuple[int, ...]) -> None:
    chance = random.Random(f"{row.name}{shape}")
    for _ in range(5):
        array = sample(row.name, shape, chance)
        made = request(row.name, list(shape), **{row.contents: array.reshape(-1).tolist()})
        ((kind, decoded),) = tensors.decode_inputs(made).values()
        assert kind == row.name
        assert decoded.shape == array.shape
        if array.dtype.kind == "f":  # a NaN is one, whatever its bits
            assert np.array_equal(decoded, array, equal_nan=True)
        else:
            assert same(decoded, array)


@pytest.mark.parametrize("row", FIXED, ids=lambda row: row.name)
def test_raw_bytes_are_little_endian_and_row_major_whatever_the_array_is(row: Any) -> None:
    array = np.arange(12).astype(row.dtype).reshape(3, 4)
    for variant in (array, array.astype(row.dtype.newbyteorder(">")), np.asfortranarray(array), array.T.copy().T):
        assert tensors.to_raw(variant, row.name) == array.tobytes()
    assert tensors.to_raw(array[:, ::2], row.name) == array[:, ::2].tobytes()


def test_the_layout_of_known_values() -> None:
    assert tensors.to_raw(np.array([1, 258], np.int16), "INT16") == b"\x01\x00\x02\x01"
    assert tensors.to_raw(np.array([1.0], np.float32), "FP32") == b"\x00\x00\x80\x3f"
    assert tensors.to_raw(np.array([True, False]), "BOOL") == b"\x01\x00"
    assert tensors.to_raw(np.array([b"ab", b""], object), "BYTES") == b"\x02\x00\x00\x00ab\x00\x00\x00\x00"
    assert tensors.to_raw(np.array(["é"]), "BYTES") == b"\x02\x00\x00\x00\xc3\xa9"


def test_fixed_size_raw_contents_are_not_copied() -> None:
    raw = np.arange(6, dtype="<f4").tobytes()
    array = tensors.from_raw("x", "FP32", [2, 3], raw)
    assert np.shares_memory(array, np.frombuffer(raw, np.uint8))


def test_an_array_of_bytes_with_other_elements_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="expected bytes or str in an array of BYTES, got int"):
        tensors.to_raw(np.array([5], object), "BYTES")


@pytest.mark.parametrize(
    ("array", "name"),
    [
        *((np.zeros(1, row.dtype), row.name) for row in FIXED),
        (np.zeros(1, ">f4"), "FP32"),
        (np.zeros(1, ">i8"), "INT64"),
        (np.array([b"a"], object), "BYTES"),
        (np.array([b"a"]), "BYTES"),
        (np.array(["a"]), "BYTES"),
        (np.zeros(1, ml_dtypes.bfloat16), "BF16"),
    ],
)
def test_the_datatype_of_an_array(array: tensors.Array, name: str) -> None:
    assert datatype_of(array) == name


def test_an_array_without_a_datatype_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="numpy type complex128 has no datatype"):
        datatype_of(np.zeros(1, complex))


def test_the_sizes_of_the_datatypes() -> None:
    sizes = {row.name: row.item_bytes for row in DATATYPES.values()}
    eight = dict.fromkeys(("INT64", "UINT64", "FP64"), 8)
    four = dict.fromkeys(("INT32", "UINT32", "FP32"), 4)
    two = dict.fromkeys(("INT16", "UINT16", "FP16", "BF16"), 2)
    assert sizes == {**eight, **four, **two, **dict.fromkeys(("BOOL", "INT8", "UINT8"), 1), "BYTES": 0}


def test_an_unknown_datatype_is_refused_by_name() -> None:
    with pytest.raises(InvalidInputError, match=r"input 'x': expected a datatype of BOOL, .*BYTES; got 'FLOAT'"):
        datatype("FLOAT", "x")
    assert "got 'fp32'" in refusal(raw_request("fp32", [1], b"1234"))


def test_bf16_is_its_bits_and_is_widened_for_the_caller() -> None:
    values = np.array([1.5, -2.0, 3.140625], ml_dtypes.bfloat16)
    raw = tensors.to_raw(values, "BF16")
    assert raw == tensors.to_raw(values.view(BF16_STORAGE), "BF16")
    assert same(tensors.from_raw("x", "BF16", [3], raw), values.view(BF16_STORAGE))
    response = messages.ModelInferResponse(raw_output_contents=[raw])
    response.outputs.add(name="y", datatype="BF16", shape=[3])
    assert same(tensors.decode_response(response)["y"], values.astype("<f4"))


@pytest.mark.parametrize("row", [row for row in DATATYPES.values() if row.name != "BYTES"], ids=lambda row: row.name)
def test_a_wrong_number_of_raw_bytes_names_both(row: Any) -> None:
    right = 6 * row.item_bytes
    for wrong in {0, right - 1, right + 1, right * 2}:
        said = refusal(raw_request(row.name, [2, 3], bytes(wrong)))
        assert said == f"input 'x': expected {right} bytes for {row.name} [2, 3], got {wrong}"


def test_truncated_bytes_elements_are_refused_wherever_the_cut_is() -> None:
    raw = tensors.to_raw(np.array([b"abc", b"", b"defgh"], object), "BYTES")
    for cut in range(len(raw)):
        assert refusal(raw_request("BYTES", [3], raw[:cut])).startswith("input 'x': expected ")
    assert "expected 20 bytes for 3 BYTES elements, got 21" in refusal(raw_request("BYTES", [3], raw + b"\0"))


@pytest.mark.parametrize("shape", [[1 << 40], [1 << 31, 1 << 31], [1 << 62]])
def test_a_shape_beyond_memory_costs_none(shape: list[int]) -> None:
    for name in ("BYTES", "FP32", "BOOL"):
        assert "got 5" in refusal(raw_request(name, shape, b"\1\0\0\0a"))
    assert "got 1" in refusal(request("BYTES", shape, bytes_contents=[b"a"]))


@pytest.mark.parametrize("name", ["FP32", "BYTES"])
@pytest.mark.parametrize("shape", [[0, 1 << 62], [1 << 62, 0, 1 << 62], [0] * 65])
def test_a_shape_that_numpy_cannot_hold_is_refused(name: str, shape: list[int]) -> None:
    for made in (raw_request(name, shape, b""), request(name, shape)):
        assert "expected a shape that fits into memory" in refusal(made)


def test_negative_dimensions_are_refused() -> None:
    expected = "input 'x': expected a shape without negative dimensions, got [-1, 2]"
    assert refusal(raw_request("FP32", [-1, 2], b"")) == expected
    assert refusal(request("FP32", [-1, 2], fp32_contents=[1.0])) == expected
    assert "negative" in refusal(raw_request("FP32", [-1, -2], bytes(8)))


@pytest.mark.parametrize("row", TYPED, ids=lambda row: row.name)
def test_a_wrong_number_of_typed_elements_names_both(row: Any) -> None:
    one = [b"a"] if row.name == "BYTES" else [1]
    for count in (0, 1, 5, 7):
        said = refusal(request(row.name, [2, 3], **{row.contents: one * count}))
        assert said == f"input 'x': expected 6 elements in {row.contents} for {row.name} [2, 3], got {count}"


@pytest.mark.parametrize("row", TYPED, ids=lambda row: row.name)
def test_typed_contents_in_another_field_are_refused(row: Any) -> None:
    for other in {str(r.contents) for r in TYPED} - {row.contents}:
        values = [b"a"] if other == "bytes_contents" else [1]
        said = refusal(request(row.name, [1], **{other: values}))
        assert said == f"input 'x': expected {row.contents} for {row.name}, got {other}"
        right = [b"a"] if row.name == "BYTES" else [1]
        assert other in refusal(request(row.name, [1], **{other: values, row.contents: right}))


@pytest.mark.parametrize("name", ["FP16", "BF16"])
def test_datatypes_without_a_field_of_their_own_want_raw_contents(name: str) -> None:
    expected = f"input 'x': {name} has no typed contents; expected raw_input_contents"
    assert refusal(request(name, [1], fp32_contents=[1.0])) == expected


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("INT8", "int_contents", 128),
        ("INT8", "int_contents", -129),
        ("INT16", "int_contents", 1 << 15),
        ("UINT8", "uint_contents", 256),
        ("UINT16", "uint_contents", 1 << 16),
    ],
)
def test_a_typed_value_out_of_range_is_named(name: str, field: str, value: int) -> None:
    said = refusal(request(name, [3], **{field: [1, value, 2]}))
    assert said == f"input 'x': expected values in the range of {name}, got {value}"


def test_raw_and_typed_contents_together_are_refused() -> None:
    made = request("FP32", [1], fp32_contents=[1.0])
    made.raw_input_contents.append(b"\0\0\0\0")
    assert refusal(made) == "input 'x': expected raw or typed contents, got both"


def test_one_input_raw_and_another_typed_is_refused() -> None:
    made = raw_request("FP32", [1], bytes(4))
    made.inputs.add(name="y", datatype="FP32", shape=[1]).contents.fp32_contents.append(1.0)
    assert refusal(made) == "raw_input_contents: expected one entry for each of the 2 inputs, got 1"
    made.raw_input_contents.append(bytes(4))
    assert refusal(made) == "input 'y': expected raw or typed contents, got both"


def test_more_raw_entries_than_inputs_are_refused() -> None:
    assert "each of the 1 inputs, got 2" in refusal(raw_request("FP32", [1], bytes(4), bytes(4)))
    assert "each of the 0 inputs, got 1" in refusal(messages.ModelInferRequest(raw_input_contents=[b""]))


def test_an_input_given_twice_is_refused() -> None:
    made = raw_request("FP32", [1], bytes(4), bytes(4))
    made.inputs.add(name="x", datatype="FP32", shape=[1])
    assert refusal(made) == "input 'x': expected once, got twice"


def test_no_contents_at_all_is_refused() -> None:
    assert refusal(request("FP32", [2])) == "input 'x': expected 2 elements in fp32_contents for FP32 [2], got 0"


def test_a_request_is_encoded_in_the_order_of_its_inputs() -> None:
    chance = random.Random(1)
    arrays = {name: sample(name, (2, 3), chance) for name in DATATYPES if name != "BF16"}
    made = tensors.encode_request("m", "3", arrays, ["y", "z"])
    assert (made.model_name, made.model_version) == ("m", "3")
    assert [(i.name, i.datatype, list(i.shape)) for i in made.inputs] == [(n, n, [2, 3]) for n in arrays]
    assert [o.name for o in made.outputs] == ["y", "z"]
    decoded = tensors.decode_inputs(messages.ModelInferRequest.FromString(made.SerializeToString()))
    assert all(same(decoded[name][1], array) for name, array in arrays.items())


def test_a_response_is_decoded_from_raw_and_from_typed_outputs() -> None:
    raw = messages.ModelInferResponse(raw_output_contents=[struct.pack("<2i", 1, -2), b"\1\0\0\0a"])
    raw.outputs.add(name="a", datatype="INT32", shape=[2])
    raw.outputs.add(name="b", datatype="BYTES", shape=[1])
    typed = messages.ModelInferResponse()
    typed.outputs.add(name="a", datatype="INT32", shape=[2]).contents.int_contents.extend([1, -2])
    typed.outputs.add(name="b", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"a")
    for response in (raw, typed):
        decoded = tensors.decode_response(response)
        assert list(decoded) == ["a", "b"]
        assert same(decoded["a"], np.array([1, -2], "<i4"))
        assert decoded["b"].tolist() == [b"a"]


def test_an_input_that_cannot_be_sent_is_named() -> None:
    with pytest.raises(InvalidInputError, match="input 'b': expected bytes or str in an array of BYTES, got int"):
        tensors.encode_request("m", "", {"a": np.zeros(1), "b": np.array([1], object)})
