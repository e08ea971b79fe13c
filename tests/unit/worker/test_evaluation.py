"""A batch of requests: stacked, run once, taken apart; and what becomes of each when the model fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from modelyard.catalogue import Signature, TensorSpec
from modelyard.errors import InternalError, InvalidInputError, ModelExecutionError, ModelyardError
from modelyard.names import ModelVersion
from modelyard.oip import messages
from modelyard.oip.tensors import Array, decode_response, encode_request
from modelyard_worker.runner.answers import MAX_RESPONSE_BYTES, SMALL_BYTES, Answers
from modelyard_worker.runner.evaluation import Evaluator, Outcome
from modelyard_worker.runner.requests import Requests

A, B = np.ones((4, 2), np.float32), np.array([1, 2, 3], np.int8)
Message = messages.ModelInferRequest
Run = Callable[[dict[str, Array]], dict[str, Array]]


class TestedRuntime:
    """Runs a function of the inputs; notes what it was asked for, and the rows of its batches."""

    __test__ = False
    platform = "test"
    labels: tuple[str, ...] = ("zero", "one")

    def __init__(self, signature: Signature, run: Run) -> None:
        self.signature = signature
        self.function = run
        self.asked: list[Sequence[str]] = []
        self.batches: list[int] = []

    def run(self, inputs: dict[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        self.asked.append(outputs)
        first = next(iter(inputs.values()))
        self.batches.append(len(first))
        found = self.function(inputs)
        return {name: found[name] for name in outputs}

    def close(self) -> None:
        """Nothing to give back."""


class Instance:
    """Requests and an evaluator of one runtime."""

    def __init__(self, runtime: TestedRuntime, *, batched: bool) -> None:
        self.runtime = runtime
        self.requests = Requests(runtime.signature, batched=batched)
        answers = Answers("3", "w0", batched=batched, labels=runtime.labels)
        self.evaluator = Evaluator(ModelVersion("m", "3"), runtime, answers)

    def outcomes(self, *requests: Message) -> list[Outcome]:
        read = [self.requests.read(r.SerializeToString()) for r in requests]
        return self.evaluator.evaluate(read).outcomes

    def answers(self, *requests: Message) -> list[messages.ModelInferResponse]:
        return [answer(outcome) for outcome in self.outcomes(*requests)]


def answer(outcome: Outcome) -> messages.ModelInferResponse:
    assert not isinstance(outcome, ModelyardError), outcome
    return messages.ModelInferResponse.FromString(b"".join(outcome))


@pytest.fixture
def doubling() -> Instance:
    """Cannot be batched: y = 2 a, n = the sum of b."""
    signature = Signature(
        (TensorSpec("a", "FP32", (-1, 2)), TensorSpec("b", "INT8", (3,))),
        (TensorSpec("y", "FP32", (-1, 2)), TensorSpec("n", "INT64", ())),
    )

    def run(inputs: dict[str, Array]) -> dict[str, Array]:
        return {"y": 2 * inputs["a"], "n": np.array(inputs["b"].sum(), np.int64)}

    return Instance(TestedRuntime(signature, run), batched=False)


def batching(run: Run) -> Instance:
    """x FP32 [-1, -1] -> y FP32 [-1, -1], s BYTES [-1]."""
    signature = Signature(
        (TensorSpec("x", "FP32", (-1, -1)),), (TensorSpec("y", "FP32", (-1, -1)), TensorSpec("s", "BYTES", (-1,)))
    )
    return Instance(TestedRuntime(signature, run), batched=True)


def rows_of(inputs: dict[str, Array]) -> dict[str, Array]:
    x = inputs["x"]
    if np.isnan(x).any():
        raise ModelExecutionError("a NaN")
    return {"y": 2 * x, "s": np.array([str(row[0]) for row in x], object)}


def x(*values: float, outputs: Sequence[str] = (), request_id: str = "") -> Message:
    """A request with a row of two for each value."""
    request = encode_request("m", "", {"x": np.array([[v, v] for v in values], np.float32)}, outputs)
    request.id = request_id
    return request


def test_the_answer_names_version_request_and_worker(doubling: Instance) -> None:
    request = encode_request("m", "", {"a": A, "b": B})
    request.id = "r-17"
    (answer,) = doubling.answers(request)
    assert (answer.model_name, answer.model_version, answer.id) == ("m", "3", "r-17")
    assert answer.parameters["worker"].string_param == "w0"
    assert [(o.name, o.datatype, list(o.shape)) for o in answer.outputs] == [("y", "FP32", [4, 2]), ("n", "INT64", [])]
    outputs = decode_response(answer)
    assert np.array_equal(outputs["y"], 2 * A)
    assert outputs["n"] == 6


def test_only_the_outputs_asked_for_are_computed_and_come_in_their_order(doubling: Instance) -> None:
    for asked in (["n"], ["n", "y"], ["y", "n"]):
        (answer,) = doubling.answers(encode_request("m", "", {"a": A, "b": B}, asked))
        assert [o.name for o in answer.outputs] == asked
        assert set(doubling.runtime.asked[-1]) == set(asked)


def test_a_batch_is_run_once_and_each_gets_its_rows() -> None:
    instance = batching(rows_of)
    answers = instance.answers(x(1, request_id="a"), x(2, 3), x(4, request_id="c"))
    assert instance.runtime.batches == [4]
    assert [a.id for a in answers] == ["a", "", "c"]
    assert [decode_response(a)["y"].tolist() for a in answers] == [[[2, 2]], [[4, 4], [6, 6]], [[8, 8]]]
    assert [decode_response(a)["s"].tolist() for a in answers] == [[b"1.0"], [b"2.0", b"3.0"], [b"4.0"]]
    assert [list(a.outputs[0].shape) for a in answers] == [[1, 2], [2, 2], [1, 2]]


def test_calls_of_a_batch_may_ask_for_different_outputs() -> None:
    instance = batching(rows_of)
    answers = instance.answers(x(1, outputs=["s"]), x(2, outputs=["y"]), x(3))
    assert [[o.name for o in a.outputs] for a in answers] == [["s"], ["y"], ["y", "s"]]
    assert decode_response(answers[1])["y"].tolist() == [[4, 4]]
    assert instance.runtime.batches == [3]


def test_a_large_batch_is_taken_apart_without_a_copy() -> None:
    found: list[Array] = []

    def run(inputs: dict[str, Array]) -> dict[str, Array]:
        found.append(2 * inputs["x"])
        return {"y": found[0]}

    instance = batching(run)
    values = np.arange(SMALL_BYTES, dtype=np.float32).reshape(1, -1)
    requests = [encode_request("m", "", {"x": values + n}, ["y"]) for n in range(2)]
    outcomes = instance.outcomes(*requests)
    for number, outcome in enumerate(outcomes):
        assert np.array_equal(decode_response(answer(outcome))["y"], 2 * (values + number))
        assert not isinstance(outcome, ModelyardError)
        assert any(np.shares_memory(np.frombuffer(piece, np.uint8), found[0]) for piece in outcome)


def test_a_bad_request_fails_alone() -> None:
    instance = batching(rows_of)
    first, bad, last = instance.outcomes(x(1), x(float("nan")), x(3))
    assert decode_response(answer(first))["y"].tolist() == [[2, 2]]
    assert decode_response(answer(last))["y"].tolist() == [[6, 6]]
    assert isinstance(bad, ModelExecutionError)
    assert bad.message == "model 'm@3': a NaN"
    assert instance.runtime.batches == [3, 1, 1, 1]


@pytest.mark.parametrize("calls", [1, 3])
def test_an_output_that_has_other_rows_than_the_batch_is_named(calls: int) -> None:
    instance = batching(lambda inputs: {"y": inputs["x"], "s": np.array(["a", "b"], object)})
    for outcome in instance.outcomes(*[x(n) for n in range(calls)]):
        assert isinstance(outcome, ModelExecutionError)
        assert outcome.message.startswith("model 'm@3': output 's': expected as many rows as the inputs of the batch")
        assert "got the shape [2]" in outcome.message


def broken(_: dict[str, Array]) -> dict[str, Array]:
    raise ZeroDivisionError("a bug of ours")


def test_what_nobody_foresaw_is_told_without_its_text() -> None:
    (outcome,) = batching(broken).outcomes(x(1))
    assert isinstance(outcome, InternalError)
    assert outcome.message == "internal error in the runner; its log has the stack"


def test_classes_are_answered_for_each_row() -> None:
    instance = batching(lambda inputs: {"y": inputs["x"] * np.array([1, 2], np.float32)})
    requests = [x(1, 2, outputs=["y"]), x(3, outputs=["y"])]
    requests[0].outputs[0].parameters["classification"].int64_param = 1
    classified, plain = instance.answers(*requests)
    assert (classified.outputs[0].datatype, list(classified.outputs[0].shape)) == ("BYTES", [2, 1])
    assert decode_response(classified)["y"].tolist() == [[b"2.000000:1:one"], [b"4.000000:1:one"]]
    assert decode_response(plain)["y"].tolist() == [[3, 6]]


def test_what_cannot_be_classified_fails_alone() -> None:
    instance = batching(rows_of)
    requests = [x(1, outputs=["s"]), x(3, outputs=["s"])]
    requests[0].outputs[0].parameters["classification"].int64_param = 1
    bad, good = instance.outcomes(*requests)
    assert isinstance(bad, InvalidInputError)
    assert decode_response(answer(good))["s"].tolist() == [b"3.0"]


def test_an_input_at_an_odd_address_is_moved() -> None:
    seen: list[bool] = []

    def run(inputs: dict[str, Array]) -> dict[str, Array]:
        seen.append(inputs["x"].flags.aligned)
        return rows_of(inputs)

    instance = batching(run)
    for extra in range(4):
        instance.answers(x(1, request_id="i" * extra))
        instance.answers(x(1, request_id="i" * extra))
    assert seen == [True] * 8


def test_a_response_that_no_message_holds_is_refused_alone() -> None:
    signature = Signature((TensorSpec("n", "INT64", (-1, 1)),), (TensorSpec("y", "INT8", (-1, -1)),))
    width = MAX_RESPONSE_BYTES // 2

    def widen(inputs: dict[str, Array]) -> dict[str, Array]:
        return {"y": np.broadcast_to(np.int8(7), (len(inputs["n"]), int(inputs["n"].max()) * width))}

    instance = Instance(TestedRuntime(signature, widen), batched=True)
    small, large = (encode_request("m", "", {"n": np.array([[n]], np.int64)}) for n in (1, 3))
    answered, refused = instance.outcomes(small, large)
    assert answer(answered).outputs[0].shape == [1, width]
    assert isinstance(refused, InvalidInputError)
    assert "ask for fewer rows" in refused.message
