"""PyPI's tritonclient, unmodified and in an environment of its own, as a client of the running suite."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest

import modelyard
from tests.conformance.conftest import Served
from tests.conformance.foreign import run_program

TOLERANCE = 1e-6


@dataclass(frozen=True)
class Said:
    """What tritonclient reported, and the numbers that it got, beside those of a local run."""

    report: dict[str, Any]
    answers: dict[str, npt.NDArray[np.float32]]
    expected: npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def said(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Said:
    """One run of tests/conformance/clients/triton.py."""
    directory: Path = tmp_path_factory.mktemp("triton")
    rows = np.random.default_rng(1).random((100, 64), np.float32)
    np.save(directory / "x.npy", rows)
    output = run_program("triton", served.address, str(directory), served.digits, served.strings, served.idle)
    with np.load(directory / "y.npz") as saved:
        answers = dict(saved)
    expected = onnxruntime.InferenceSession(served.digits_file).run(None, {"x": rows})[0]
    return Said(json.loads(output), answers, expected)


def test_live_and_ready(said: Said) -> None:
    health = said.report["health"]
    assert [health[name] for name in ("live", "ready", "model_ready", "idle_model_ready")] == [True, True, True, False]


def test_server_metadata(said: Said) -> None:
    server = said.report["health"]["server"]
    assert (server["name"], server["version"]) == ("modelyard", modelyard.__version__)


def test_model_metadata(said: Said, served: Served) -> None:
    assert said.report["health"]["model"] == {
        "name": served.digits,
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": ["-1", "64"]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": ["-1", "10"]}],
    }


@pytest.mark.parametrize("way", ["plain", "packed", "many", "asyncio"])
def test_infer_equals_a_local_run(said: Said, way: str) -> None:
    answer = said.answers[way]
    assert answer.dtype == np.float32
    np.testing.assert_allclose(answer, said.expected[: len(answer)], rtol=0, atol=TOLERANCE)


def test_infer_returns_id_version_and_shape(said: Said) -> None:
    inference = said.report["inference"]
    assert (inference["id"], inference["version"]) == ("call-1", "1")
    output = inference["output"]
    assert (output["name"], output["datatype"], output["shape"]) == ("y", "FP32", ["100", "10"])


def test_infer_with_bytes(said: Said) -> None:
    assert said.report["inference"]["strings"] == ["abcd", "é!", "x"]


@pytest.mark.parametrize(
    ("call", "status", "words"),
    [
        ("unknown model", "NOT_FOUND", ["no-such-model"]),
        ("unknown version", "NOT_FOUND", ["conformance-digits", "99"]),
        ("metadata of an unknown model", "NOT_FOUND", ["no-such-model"]),
        ("not deployed", "FAILED_PRECONDITION", ["conformance-idle"]),
        ("wrong shape", "INVALID_ARGUMENT", ["'x'", "[-1, 64]", "[1, 63]"]),
        ("wrong rank", "INVALID_ARGUMENT", ["'x'", "[-1, 64]", "[64]"]),
        ("wrong datatype", "INVALID_ARGUMENT", ["'x'", "FP32", "FP64"]),
        ("wrong byte length", "INVALID_ARGUMENT", ["'x'", "512", "256"]),
        ("misnamed input", "INVALID_ARGUMENT", ["'z'", "x: FP32 [-1, 64]"]),
        ("missing input", "INVALID_ARGUMENT", ["'b'"]),
        ("unknown output", "INVALID_ARGUMENT", ["'z'", "expected"]),
    ],
)
def test_errors_have_their_status_and_say_what_was_expected(
    said: Said, call: str, status: str, words: list[str]
) -> None:
    error = said.report["errors"][call]
    assert error["status"] == f"StatusCode.{status}", error
    assert [word for word in words if word not in error["message"]] == [], error["message"]
