from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch_file

from modelyard.catalogue import Signature, TensorSpec
from modelyard.errors import InvalidInputError
from modelyard.pickled import CONVERSION
from modelyard_registry.formats.safetensors_signature import check_weights, read_signature

X = {"name": "x", "datatype": "FP32", "shape": [-1, 4]}
Y = {"name": "y", "datatype": "INT64", "shape": []}
ENTRY = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}


def refusal(directory: Path) -> str:
    with pytest.raises(InvalidInputError) as caught:
        read_signature(directory)
    assert str(directory) not in caught.value.message
    return caught.value.message


def write_recipe(directory: Path, inputs: Any = (X,), outputs: Any = (Y,), **fields: Any) -> None:
    recipe = {"signature": {"inputs": inputs, "outputs": outputs}} | fields
    (directory / "recipe.json").write_text(json.dumps(recipe))


def write_weights(path: Path, header: Any, data: bytes = bytes(24)) -> None:
    """What no library would write."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    save_file({"weight": np.ones((4, 2), np.float32), "bias": np.zeros(2, np.float32)}, tmp_path / "m.safetensors")
    write_recipe(tmp_path)
    return tmp_path


def test_the_signature_is_that_of_the_recipe(artifact: Path) -> None:
    expected = Signature((TensorSpec("x", "FP32", (-1, 4)),), (TensorSpec("y", "INT64", ()),))
    assert read_signature(artifact) == expected


def test_a_recipe_with_more_than_the_signature_is_refused_unless_allowed(artifact: Path) -> None:
    write_recipe(artifact, model={"layers": [4, 2]}, code="import os")
    expected = "recipe.json: expected a signature alone, got 'code', 'model' too, which only custom code reads; "
    assert refusal(artifact) == f"{expected}leave it out, or {CONVERSION}"
    assert read_signature(artifact, allow_unsafe=True).inputs


@pytest.mark.parametrize(
    "name",
    ["model.py", "a/Model.PY", "m.pyc", "op.so", "libop.so.1.2", "op.dll", "op.dylib", "op.pyd", "run.sh", "m\n.py"],
)
def test_files_that_are_code_are_refused_unless_allowed(artifact: Path, name: str) -> None:
    (artifact / name).parent.mkdir(exist_ok=True)
    (artifact / name).write_bytes(b"")
    expected = f"{name}: expected weights and what describes them, got code; leave it out, or {CONVERSION}"
    assert refusal(artifact) == expected
    assert read_signature(artifact, allow_unsafe=True).inputs


@pytest.mark.parametrize(("head", "kind"), [(b"\x7fELF\x02", "a program or library"), (b"#!/bin/sh\n", "a script")])
def test_files_whose_bytes_are_code(artifact: Path, head: bytes, kind: str) -> None:
    (artifact / "vocabulary").write_bytes(head)
    assert refusal(artifact).startswith(f"vocabulary: expected weights and what describes them, got {kind}; ")


@pytest.mark.parametrize("name", ["copy", "happy", "sh", "merges.txt", "tokens.json", "so.txt", ".gitignore"])
def test_files_that_are_no_code(artifact: Path, name: str) -> None:
    (artifact / name).write_bytes(b"#version: 0.2\n")
    assert read_signature(artifact).inputs


def test_every_dtype_that_torch_writes(artifact: Path) -> None:
    names = "bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64 uint16 uint32 uint64 float8_e4m3fn"
    tensors = {name: torch.zeros(2, 3).to(getattr(torch, name)) for name in names.split()}
    save_torch_file(tensors, artifact / "m.safetensors", metadata={"format": "pt"})
    check_weights(artifact / "m.safetensors")


def test_empty_and_scalar_tensors_and_no_tensors(artifact: Path) -> None:
    save_file({"none": np.zeros((0, 3), np.int8), "one": np.array(1.5)}, artifact / "m.safetensors")
    check_weights(artifact / "m.safetensors")
    save_file({}, artifact / "m.safetensors")
    check_weights(artifact / "m.safetensors")


def test_shards(artifact: Path) -> None:
    (artifact / "more").mkdir()
    save_file({"a": np.ones(3)}, artifact / "more" / "b.safetensors")
    read_signature(artifact)
    (artifact / "more" / "b.safetensors").write_bytes(b"no weights here")
    assert refusal(artifact).startswith("b.safetensors: expected a safetensors file")


def test_no_weights(tmp_path: Path) -> None:
    write_recipe(tmp_path)
    assert refusal(tmp_path) == "format safetensors: expected one .safetensors file or more, got recipe.json"


def test_no_recipe(artifact: Path) -> None:
    (artifact / "recipe.json").unlink()
    message = refusal(artifact)
    assert message.startswith("recipe.json: expected it beside the weights, to declare what they compute: ")
    example = message[message.index("{") : message.rindex("}") + 1]
    (artifact / "recipe.json").write_text(example)
    assert [t.name for t in read_signature(artifact).inputs] == ["x"]
    (artifact / "recipe.json").rename(artifact / "more.json")
    (artifact / "recipe.json").mkdir()
    assert "it is missing" in refusal(artifact)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "recipe.json: Input data was truncated"),
        (b"[]", "Expected `object`, got `array`"),
        (b"{}", "missing required field `signature`"),
        (b'{"signature": {"inputs": []}}', "missing required field `outputs`"),
        (b'{"signature": {"inputs": [], "outputs": [{"name": "y", "datatype": "FP32", "shape": [1]}]}}', "no inputs"),
        (b"{" * 100, "recipe.json: JSON is malformed"),
        (b'{"a": ' + b"[" * 100_000, "recipe.json: "),
        (b'{"signature": "\xff\xfe"}', "recipe.json: "),
        (b" " * (2 << 20), "recipe.json: expected at most 1048576 bytes, got 2097152"),
    ],
)
def test_recipes_that_are_none(artifact: Path, text: bytes, reason: str) -> None:
    (artifact / "recipe.json").write_bytes(text)
    assert reason in refusal(artifact)


def test_weights_of_which_nobody_can_say_what_they_compute(artifact: Path) -> None:
    (artifact / "recipe.json").write_text('{"signature": {"inputs": [], "outputs": []}}')
    assert read_signature(artifact) == Signature()


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        ({"name": "x", "datatype": "FP32"}, "missing required field `shape` - at `$.signature.inputs[0]`"),
        (
            X | {"shape": [-2]},
            "recipe.json: input 'x': expected dimensions of 0 to 9223372036854775807, or -1 for any, got -2",
        ),
        (X | {"shape": [1, 2**63]}, "recipe.json: input 'x': expected dimensions of 0 to 9223372036854775807, "),
        (X | {"shape": [2**70]}, "or -1 for any, got 1180591620717411303424"),
        (X | {"name": "a\x1b[2J"}, "recipe.json: input 'a\\x1b[2J': expected a name, without control characters"),
        (X | {"shape": [1.5]}, "Expected `int`, got `float`"),
        (X | {"shape": [1] * 65}, "recipe.json: input 'x': expected at most 64 dimensions, got 65"),
        (X | {"name": ""}, "Expected `str` of length >= 1"),
        (X | {"dtype": "FP32"}, "unknown field `dtype`"),
        (X | {"datatype": "float32"}, "recipe.json: input 'x': expected a datatype of BOOL, "),
        (X | {"datatype": 7}, "Expected `str`, got `int`"),
    ],
)
def test_recipes_with_a_malformed_tensor(artifact: Path, tensor: dict[str, Any], reason: str) -> None:
    write_recipe(artifact, [tensor])
    assert reason in refusal(artifact)


def test_a_recipe_that_names_a_tensor_twice(artifact: Path) -> None:
    write_recipe(artifact, outputs=[X, X])
    assert refusal(artifact) == "recipe.json: expected distinct names of outputs, got x, x"


@pytest.mark.parametrize("data", [b"", b"\0" * 7, b"\0" * 8, b"\xff" * 100, b"\x01" + bytes(20), b"PK\x03\x04" * 10])
def test_what_is_not_safetensors(artifact: Path, data: bytes) -> None:
    (artifact / "m.safetensors").write_bytes(data)
    assert "m.safetensors: expected a safetensors file with a header of 2 to" in refusal(artifact)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (b"no JSON", "JSON is malformed"),
        (b'{"a": ' + b"[" * 100_000, "m.safetensors: "),
        ([], "Expected `object`, got `array`"),
        ({"a": 1}, "'a': Expected `object`, got `int`"),
        ({"a": {"dtype": "F32"}}, "'a': Object missing required field `shape`"),
        ({"a": ENTRY | {"code": "1"}}, "'a': Object contains unknown field `code`"),
        ({"a": ENTRY | {"shape": [2, -3]}}, "Expected `int` >= 0"),
        ({"a": ENTRY | {"data_offsets": [0]}}, "Expected `array` of length 2"),
        ({"a": ENTRY | {"data_offsets": [-24, 0]}}, "Expected `int` >= 0"),
        ({"a": ENTRY | {"dtype": "F33"}}, "'a': expected a dtype of safetensors, got 'F33'"),
        ({"a": ENTRY | {"shape": [2, 4]}}, "'a': expected 256 bits for F32 [2, 4], got data_offsets of 24 bytes"),
        ({"a": ENTRY | {"shape": [2**62] * 60}}, "'a': expected "),
        ({"a": ENTRY | {"data_offsets": [24, 0]}}, "'a': expected 192 bits for F32 [2, 3], got data_offsets of -24"),
        ({"a": ENTRY | {"data_offsets": [1, 25]}}, "'a': expected its data to begin at 0, got 1"),
        ({"a": ENTRY, "b": ENTRY}, "'b': expected its data to begin at 24, got 0"),
        ({"a": ENTRY, "b": ENTRY | {"data_offsets": [24, 48]}}, "expected 48 bytes of data after the header, got 24"),
        ({}, "expected 0 bytes of data after the header, got 24"),
        ({"__metadata__": {"format": 1}, "a": ENTRY}, "__metadata__: expected texts by name"),
        ({"__metadata__": "pt", "a": ENTRY}, "__metadata__: expected texts by name"),
    ],
)
def test_unsound_headers(artifact: Path, header: Any, reason: str) -> None:
    write_weights(artifact / "m.safetensors", header)
    assert reason in refusal(artifact)
    assert len(refusal(artifact)) < 5000


def test_types_of_less_than_a_byte(artifact: Path) -> None:
    write_weights(artifact / "m.safetensors", {"a": {"dtype": "F4", "shape": [6], "data_offsets": [0, 3]}}, bytes(3))
    check_weights(artifact / "m.safetensors")


def test_cut_off_at_any_byte(artifact: Path) -> None:
    path = artifact / "m.safetensors"
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert refusal(artifact)


def test_damaged_bytes_are_refused_or_read_but_never_anything_else(artifact: Path) -> None:
    chance = random.Random(7)
    path = artifact / "m.safetensors"
    whole = path.read_bytes()
    refused = 0
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(chance.randrange(1, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(data)
        try:
            read_signature(artifact)
        except InvalidInputError:
            refused += 1
    assert 0 < refused < 400
