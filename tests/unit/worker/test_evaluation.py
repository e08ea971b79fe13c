"""A request against a signature: every way in which it may not fit, and what the message says."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from modelyard.catalogue import Signature, TensorSpec
from modelyard.errors import InvalidInputError, ModelExecutionError
from modelyard.names import ModelVersion
from modelyard.oip import messages
from modelyard.oip.tensors import Array, decode_response, encode_request
from modelyard_worker.runner.evaluation import Evaluator

SIGNATURE = Signature(
    (TensorSpec("a", "FP32", (-1, 2)), TensorSpec("b", "INT8", (3,))),
    (TensorSpec("y", "FP32", (-1, 2)), TensorSpec("n", "INT64", ())),
)
A, B = np.ones((4, 2), np.float32), np.array([1, 2, 3], np.int8)
Request = messages.ModelInferRequest


class DoublingRuntime:
    """y = 2 a, n = the sum of b."""

    platform = "test"
    signature = SIGNATURE

    def __init__(self) -> None:
        self.asked: list[Sequence[str]] = []
        self.fails = ""

    def run(self, inputs: dict[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        self.asked.append(outputs)
        if self.fails:
            raise ModelExecutionError(self.fails)
        found = {"y": 2 * inputs["a"], "n": np.array(inputs["b"].sum(), np.int64)}
        return {name: found[name] for name in outputs}


@pytest.fixture
def runtime() -> DoublingRuntime:
    return DoublingRuntime()


@pytest.fixture
def evaluator(runtime: DoublingRuntime) -> Evaluator:
    return Evaluator(ModelVersion("m", "3"), "w0", runtime)


def good() -> Request:
    return encode_request("m", "", {"a": A, "b": B})


def typed() -> Request:
    request = messages.ModelInferRequest(model_name="m")
    request.inputs.add(name="a", datatype="FP32", shape=[1, 2]).contents.fp32_contents.extend([1, 2])
    request.inputs.add(name="b", datatype="INT8", shape=[3]).contents.int_contents.extend([1, 2, 3])
    return request


def test_the_answer_names_version_request_and_worker(evaluator: Evaluator) -> None:
    request = good()
    request.id = "r-17"
    answer = messages.ModelInferResponse.FromString(evaluator.infer(request.SerializeToString()))
    assert (answer.model_name, answer.model_version, answer.id) == ("m", "3", "r-17")
    assert answer.parameters["worker"].string_param == "w0"
    assert [(o.name, o.datatype, list(o.shape)) for o in answer.outputs] == [("y", "FP32", [4, 2]), ("n", "INT64", [])]
    outputs = decode_response(answer)
    assert np.array_equal(outputs["y"], 2 * A)
    assert outputs["n"] == 6


def test_typed_contents_and_any_order_of_inputs(evaluator: Evaluator) -> None:
    request = typed()
    request.inputs.reverse()
    answer = messages.ModelInferResponse.FromString(evaluator.infer(request.SerializeToString()))
    assert decode_response(answer)["y"].tolist() == [[2, 4]]


def test_only_the_outputs_asked_for_are_computed_in_their_order(evaluator: Evaluator, runtime: DoublingRuntime) -> None:
    for asked in (["n"], ["n", "y"], ["y", "n"]):
        request = good()
        for name in asked:
            request.outputs.add(name=name)
        answer = messages.ModelInferResponse.FromString(evaluator.infer(request.SerializeToString()))
        assert [o.name for o in answer.outputs] == asked
        assert runtime.asked[-1] == asked


def missing(request: Request) -> None:
    del request.inputs[1], request.raw_input_contents[1]


def nothing(request: Request) -> None:
    request.Clear()
    request.model_name = "m"


def extra(request: Request) -> None:
    request.inputs.add(name="c", datatype="FP32", shape=[1])
    request.raw_input_contents.append(b"\0" * 4)


def misnamed(request: Request) -> None:
    request.inputs[0].name = "A"


def twice(request: Request) -> None:
    request.inputs[1].CopyFrom(request.inputs[0])
    request.raw_input_contents[1] = request.raw_input_contents[0]


def wrong_datatype(request: Request) -> None:
    request.inputs[1].datatype = "UINT8"


def unknown_datatype(request: Request) -> None:
    request.inputs[1].datatype = "FLOAT"


def wrong_rank(request: Request) -> None:
    request.inputs[0].shape[:] = [8]


def wrong_dimension(request: Request) -> None:
    request.inputs[0].shape[:] = [2, 4]


def negative_dimension(request: Request) -> None:
    request.inputs[0].shape[:] = [-1, 2]


def short_bytes(request: Request) -> None:
    request.raw_input_contents[0] = request.raw_input_contents[0][:-1]


def long_bytes(request: Request) -> None:
    request.raw_input_contents[0] += b"\0"


def raw_missing_one(request: Request) -> None:
    del request.raw_input_contents[1]


def both(request: Request) -> None:
    request.inputs[0].contents.fp32_contents.extend([1.0] * 8)


def unknown_output(request: Request) -> None:
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
def test_what_does_not_fit_is_refused(
    spoil: Callable[[Request], None], message: str, evaluator: Evaluator, runtime: DoublingRuntime
) -> None:
    request = good()
    spoil(request)
    with pytest.raises(InvalidInputError) as caught:
        evaluator.infer(request.SerializeToString())
    assert caught.value.message.startswith(f"model 'm@3': {message}")
    assert runtime.asked == []


def too_few(request: Request) -> None:
    request.inputs[0].shape[:] = [2, 2]


def wrong_field(request: Request) -> None:
    request.inputs[0].contents.Clear()
    request.inputs[0].contents.int_contents.extend([1, 2])


def two_fields(request: Request) -> None:
    request.inputs[0].contents.int_contents.append(1)


def out_of_range(request: Request) -> None:
    request.inputs[1].contents.int_contents[0] = 128


def no_contents(request: Request) -> None:
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
    spoil: Callable[[Request], None], message: str, evaluator: Evaluator
) -> None:
    request = typed()
    spoil(request)
    with pytest.raises(InvalidInputError) as caught:
        evaluator.infer(request.SerializeToString())
    assert caught.value.message.startswith(f"model 'm@3': {message}")


def test_bytes_that_are_no_request_are_refused(evaluator: Evaluator) -> None:
    with pytest.raises(InvalidInputError, match="expected a ModelInferRequest, got 3 bytes that are none"):
        evaluator.infer(b"\xff\xff\xff")


def test_what_the_model_says_comes_with_its_name(evaluator: Evaluator, runtime: DoublingRuntime) -> None:
    runtime.fails = "index out of bounds"
    with pytest.raises(ModelExecutionError) as caught:
        evaluator.infer(good().SerializeToString())
    assert caught.value.message == "model 'm@3': index out of bounds"
