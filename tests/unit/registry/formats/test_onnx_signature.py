from __future__ import annotations

import random
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelyard.catalogue import Signature, TensorSpec
from modelyard.errors import InvalidInputError
from modelyard_registry.formats.onnx_signature import read_signature
from tests import models


def refusal(directory: Path) -> str:
    with pytest.raises(InvalidInputError) as caught:
        read_signature(directory, allow_unsafe=False)
    assert str(directory) not in caught.value.message
    return caught.value.message


def graph(node: onnx.NodeProto, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]) -> bytes:
    """A model that nothing has checked."""
    made = helper.make_graph([node], "test", inputs, outputs)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", models.OPSET)]).SerializeToString()


def edit_external(path: Path, **entries: str) -> None:
    """Change what the first tensor in external data says of its place."""
    model = onnx.load(path, load_external_data=False)
    tensor = next(t for t in model.graph.initializer if t.external_data)
    held = {e.key: e.value for e in tensor.external_data} | entries
    del tensor.external_data[:]
    for key, value in held.items():
        tensor.external_data.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize("datatype", models.ELEMENT_TYPES)
def test_every_datatype(tmp_path: Path, datatype: str) -> None:
    models.save(models.identity(datatype, (-1, 2)), tmp_path / "m.onnx")
    expected = (TensorSpec("x", datatype, (-1, 2)),), (TensorSpec("y", datatype, (-1, 2)),)
    assert read_signature(tmp_path) == Signature(*expected)


def test_several_inputs_and_outputs_keep_their_order(tmp_path: Path) -> None:
    models.save(models.sum_and_difference(), tmp_path / "m.onnx")
    found = read_signature(tmp_path)
    assert [t.name for t in found.inputs] == ["a", "b"]
    assert [t.name for t in found.outputs] == ["sum", "difference"]


def test_dimensions_named_absent_minus_one_or_zero(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", None, -1, 0, 3])
    node = helper.make_node("Identity", ["x"], ["y"])
    scalar = helper.make_node("Identity", ["s"], ["t"])
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, []) for n in ("y", "t")]
    inputs = [value, helper.make_tensor_value_info("s", TensorProto.FLOAT, [])]
    made = helper.make_model(
        helper.make_graph([node, scalar], "test", inputs, outputs), opset_imports=[helper.make_opsetid("", 20)]
    )
    models.save(made, tmp_path / "m.onnx")
    assert [t.shape for t in read_signature(tmp_path).inputs] == [(-1, -1, -1, 0, 3), ()]


def test_initializers_listed_as_inputs_are_no_inputs(tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.ones((2,), np.float32), "w")
    node = helper.make_node("Add", ["x", "w"], ["y"])
    inputs = [models.tensor("x", "FP32", [2]), models.tensor("w", "FP32", [2])]
    models.save(models.build([node], inputs, [models.tensor("y", "FP32", [2])], [weight]), tmp_path / "m.onnx")
    assert [t.name for t in read_signature(tmp_path).inputs] == ["x"]


@pytest.mark.parametrize(
    "data", [b"", b"not a model", b"\x00" * 100, b"PK\x03\x04", random.Random(0).randbytes(10_000)]
)
def test_what_is_not_onnx(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(data)
    assert "expected a" in refusal(tmp_path)


def test_truncated_at_any_byte(tmp_path: Path) -> None:
    whole = models.mlp((4, 4, 2)).SerializeToString()
    for length in range(0, len(whole), 7):
        (tmp_path / "m.onnx").write_bytes(whole[:length])
        assert refusal(tmp_path)


def test_damaged_bytes_are_refused_or_read_but_never_anything_else(tmp_path: Path) -> None:
    whole = models.mlp((4, 4, 2)).SerializeToString()
    chance = random.Random(7)
    refused = 0
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(chance.randrange(1, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        (tmp_path / "m.onnx").write_bytes(data)
        try:
            read_signature(tmp_path)
        except InvalidInputError:
            refused += 1
    assert 0 < refused < 400


def test_an_invalid_graph(tmp_path: Path) -> None:
    x, y = models.tensor("x", "FP32", [2]), models.tensor("y", "FP32", [2])
    (tmp_path / "m.onnx").write_bytes(graph(helper.make_node("NoSuchOperator", ["x"], ["y"]), [x], [y]))
    assert "NoSuchOperator" in refusal(tmp_path)
    (tmp_path / "m.onnx").write_bytes(graph(helper.make_node("Identity", ["from_nowhere"], ["y"]), [x], [y]))
    assert "from_nowhere" in refusal(tmp_path)


def test_what_is_not_a_tensor(tmp_path: Path) -> None:
    floats = helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, [2])
    (tmp_path / "m.onnx").write_bytes(
        graph(helper.make_node("SequenceLength", ["x"], ["y"]), [floats], [models.tensor("y", "INT64", [])])
    )
    assert refusal(tmp_path) == "m.onnx: 'x': expected a tensor, got sequence_type"


def test_a_type_that_the_protocol_lacks(tmp_path: Path) -> None:
    inputs, outputs = (helper.make_tensor_value_info(n, TensorProto.COMPLEX64, [2]) for n in ("x", "y"))
    (tmp_path / "m.onnx").write_bytes(graph(helper.make_node("Identity", ["x"], ["y"]), [inputs], [outputs]))
    assert refusal(tmp_path) == f"m.onnx: 'x': ONNX type {TensorProto.COMPLEX64} has no OIP datatype"


def test_no_and_two_onnx_files(tmp_path: Path) -> None:
    (tmp_path / "readme").write_text("no model here")
    assert refusal(tmp_path) == "format onnx: expected exactly one .onnx file, got none"
    (tmp_path / "sub").mkdir()
    models.save(models.mlp((2, 2)), tmp_path / "b.onnx")
    models.save(models.mlp((2, 2)), tmp_path / "sub" / "a.onnx")
    assert refusal(tmp_path) == "format onnx: expected exactly one .onnx file, got b.onnx, sub/a.onnx"


def test_external_data_beside_the_model(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    models.external(tmp_path / "sub", (64, 32, 10))
    assert read_signature(tmp_path).inputs == (TensorSpec("x", "FP32", (-1, 64)),)


def test_several_external_files(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save_model(
        models.mlp((8, 8, 2)),
        str(path),
        save_as_external_data=True,
        all_tensors_to_one_file=False,
        size_threshold=0,
    )
    assert len(list(tmp_path.iterdir())) > 3
    assert read_signature(tmp_path).outputs == (TensorSpec("y", "FP32", (-1, 2)),)
    (tmp_path / "b1").unlink()
    assert refusal(tmp_path) == "model.onnx: expected its external data file 'b1', which is missing"


def test_external_data_that_is_not_whole(tmp_path: Path) -> None:
    models.external(tmp_path)
    weights = tmp_path / "weights.bin"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    message = refusal(tmp_path)
    assert "bytes or more in its external data file 'weights.bin'" in message
    assert message.endswith(f"got {len(whole) - 1}")
    weights.unlink()
    weights.mkdir()
    assert refusal(tmp_path) == "model.onnx: expected its external data file 'weights.bin', which is missing"


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("../weights.bin", "beside the model, got"),
        ("/etc/passwd", "beside the model, got"),
        ("..", "beside the model, got"),
        ("x/../../weights.bin", "beside the model, got"),
        ("", "which is missing"),
        (".", "which is missing"),
        ("a\0b", "which is missing"),
        ("x" * 5000, "which is missing"),
    ],
)
def test_external_data_elsewhere(tmp_path: Path, location: str, said: str) -> None:
    (tmp_path / "sub").mkdir()
    path = models.external(tmp_path / "sub")
    shutil.copy(tmp_path / "sub" / "weights.bin", tmp_path / "weights.bin")
    edit_external(path, location=location)
    assert said in refusal(tmp_path)


def test_external_data_behind_a_link(tmp_path: Path) -> None:
    models.external(tmp_path)
    (tmp_path / "weights.bin").rename(tmp_path / "elsewhere")
    (tmp_path / "weights.bin").symlink_to(tmp_path / "elsewhere")
    assert "weights.bin" in refusal(tmp_path)


@pytest.mark.parametrize("field", ["offset", "length"])
@pytest.mark.parametrize("text", ["-1", "1e3", "many", "9" * 5000, "", "٣"])
def test_external_data_at_no_place(tmp_path: Path, field: str, text: str) -> None:
    edit_external(models.external(tmp_path), **{field: text})
    assert f"expected a whole number as {field}" in refusal(tmp_path)


def test_external_data_of_a_subgraph_is_seen(tmp_path: Path) -> None:
    tensor = numpy_helper.from_array(np.ones(2, np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    branch = helper.make_graph([], "branch", [], [models.tensor("w", "FP32", [2])], [tensor])
    node = helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)
    (tmp_path / "m.onnx").write_bytes(graph(node, [models.tensor("x", "BOOL", [])], [models.tensor("y", "FP32", [2])]))
    assert refusal(tmp_path) == "m.onnx: expected its external data file 'weights.bin', which is missing"


def test_a_negative_dimension(tmp_path: Path) -> None:
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, -7]) for n in ("x", "y"))
    (tmp_path / "m.onnx").write_bytes(graph(helper.make_node("Identity", ["x"], ["y"]), [x], [y]))
    assert refusal(tmp_path).startswith("m.onnx: input 'x': expected dimensions of 0 to 9223372036854775807, ")
    assert refusal(tmp_path).endswith("got -7")


@pytest.mark.parametrize("name", ["x\n", "\x1b[2J", "a\u202eb"])
def test_names_that_mislead(tmp_path: Path, name: str) -> None:
    inputs, outputs = ([models.tensor(n, "FP32", [2])] for n in (name, "y"))
    (tmp_path / "m.onnx").write_bytes(graph(helper.make_node("Identity", [name], ["y"]), inputs, outputs))
    assert refusal(tmp_path) == f"m.onnx: input {name!r}: expected a name, without control characters"


def test_names_that_are_no_text(tmp_path: Path) -> None:
    data = models.identity("FP32", (2,)).SerializeToString().replace(b"\x0a\x01x", b"\x0a\x01\xff")
    (tmp_path / "m.onnx").write_bytes(data)
    assert refusal(tmp_path) == "m.onnx: expected an ONNX model, got names that are not UTF-8"
