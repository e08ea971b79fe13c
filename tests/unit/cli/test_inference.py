from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelyard.catalogue import TensorSpec
from modelyard.cli.inference import read_input
from modelyard.errors import InvalidInputError, UnavailableError
from tests.unit.fakes import FakeSuite

FP32 = TensorSpec("x", "FP32", (-1, 2))
INT8 = TensorSpec("x", "INT8", (-1,))
BYTES = TensorSpec("x", "BYTES", (-1, 1))
Run = Callable[..., str]


def test_infer(run: Run, run_json: Callable[..., Any], tmp_path: Path) -> None:
    assert run("infer", "digits", "--input", "x=[[1,2]]") == "digits@1 on worker-0\nx: FP32 [1, 2]\n[[1. 2.]]\n"
    np.save(tmp_path / "x.npy", np.arange(4, dtype=np.int16))
    answer = run_json("infer", "digits@prod", "--input", f"x=@{tmp_path / 'x.npy'}")
    assert answer["outputs"] == {"x": {"datatype": "INT16", "shape": [4], "data": [0, 1, 2, 3]}}
    assert (answer["version"], answer["worker"]) == ("prod", "worker-0")


def test_infer_text(fakes: FakeSuite, run: Run, run_json: Callable[..., Any], tmp_path: Path) -> None:
    fakes.inference.datatype, fakes.inference.shape = "BYTES", [-1, 1]
    answer = run_json("infer", "reviews", "--input", "x=a good film", "--output", str(tmp_path / "y.npy"))
    assert answer["outputs"]["x"] == {"datatype": "BYTES", "shape": [1, 1], "data": [["a good film"]]}
    assert np.load(tmp_path / "y.npy").tolist() == [[b"a good film"]]
    assert run("infer", "reviews", "--input", "x=a good film").endswith("\nx: BYTES [1, 1]\n[['a good film']]\n")


def test_a_model_that_is_not_ready_is_waited_for_no_longer_than_it_was_said(fakes: FakeSuite, fail: Run) -> None:
    for method in ("ModelMetadata", "ModelInfer"):
        fakes.inference.failures[method] = [UnavailableError("it is being loaded", retry_after_s=2.0)]
        assert "it is being loaded" in fail("infer", "digits", "--input", "x=[[1,2]]", "--timeout", "1")


def test_infer_keeps_outputs(run: Run, fail: Run, tmp_path: Path) -> None:
    inputs = ("--input", "x=[[1,2]]", "--input", "z=[1]")
    assert "expected a .npz file for the 2 outputs x, z" in fail("infer", "m", *inputs, "--output", f"{tmp_path}/y.npy")
    run("infer", "m", *inputs, "--output", f"{tmp_path}/y.npz")
    assert set(np.load(tmp_path / "y.npz")) == {"x", "z"}
    assert "ends in .npy or .npz" in fail("infer", "m", *inputs, "--output", "y.csv")
    assert "No such file or directory" in fail("infer", "m", *inputs, "--output", f"{tmp_path}/absent/y.npz")


@pytest.mark.parametrize(
    ("text", "spec", "expected"),
    [
        ("[[1, 2]]", FP32, np.array([[1, 2]], np.float32)),
        ("0.5", TensorSpec("x", "FP32", (1,)), np.array([0.5], np.float32)),
        ("[1, -2]", INT8, np.array([1, -2], np.int8)),
        ("[1, 2]", TensorSpec("x", "FP16", (2,)), np.array([1, 2], np.float16)),
        ("[true]", TensorSpec("x", "BOOL", (1,)), np.array([True])),
        ("42", BYTES, np.array([["42"]])),
        ('"[1]"', BYTES, np.array([["[1]"]])),
        ('[["a"], ["b"]]', BYTES, np.array([["a"], ["b"]])),
        ("[1, 2]", None, np.array([1, 2])),
    ],
)
def test_inputs_become_what_the_model_wants(text: str, spec: TensorSpec | None, expected: Any) -> None:
    array = read_input("x", text, spec)
    np.testing.assert_array_equal(array, expected)
    assert array.shape == expected.shape
    assert array.dtype.kind == expected.dtype.kind
    assert expected.dtype.kind == "U" or array.dtype == expected.dtype


@pytest.mark.parametrize(
    ("text", "spec", "message"),
    [
        ("some text", FP32, "expected FP32, got text"),
        ("[1.5]", TensorSpec("x", "BF16", (1,)), "wants BF16, which cannot be written here"),
        ("[1.5]", INT8, "expected INT8, got numbers with a fraction"),
        ("[300]", INT8, "expected values in the range of INT8"),
        ("[1, 2]", BYTES, "expected BYTES, got integers"),
        ("[[1], [1, 2]]", FP32, "expected rows of equal length"),
        ('{"a": 1}', BYTES, "expected BYTES, got"),
        ("@absent.npy", FP32, r"expected a file at absent\.npy, found nothing"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(text: str, spec: TensorSpec, message: str) -> None:
    if text.startswith("{"):
        text = f"[{text}]"
    with pytest.raises(InvalidInputError, match=message):
        read_input("x", text, spec)


def test_files_that_hold_no_array_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    for content in (b"", b"not numpy's"):
        path.write_bytes(content)
        with pytest.raises(InvalidInputError, match="expected an array in"):
            read_input("x", f"@{path}", None)
    np.savez(tmp_path / "x.npz", x=np.zeros(1))
    with pytest.raises(InvalidInputError, match="expected one array in"):
        read_input("x", f"@{tmp_path / 'x.npz'}", None)
    np.save(path, np.array([{}], object), allow_pickle=True)
    with pytest.raises(InvalidInputError, match="expected an array in"):
        read_input("x", f"@{path}", None)
