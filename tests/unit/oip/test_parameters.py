from typing import Any

import pytest

from modelyard.errors import InvalidInputError
from modelyard.oip import messages
from modelyard.oip.parameters import CallParameters, Sequence, read_classification, read_parameters

Output = messages.ModelInferRequest.InferRequestedOutputTensor


def parameter(kind: str, value: Any) -> messages.InferParameter:
    return messages.InferParameter(**{f"{kind}_param": value} if kind else {})


def request(**given: tuple[str, Any]) -> messages.ModelInferRequest:
    made = messages.ModelInferRequest()
    for name, (kind, value) in given.items():
        made.parameters[name].CopyFrom(parameter(kind, value))
    return made


def test_without_parameters_a_call_has_the_defaults() -> None:
    assert read_parameters(request()) == CallParameters(priority=5, timeout_us=0, sequence=None)


def test_parameters_of_other_names_pass() -> None:
    assert read_parameters(request(colour=("string", "red"), binary_data_output=("bool", True))) == CallParameters()


@pytest.mark.parametrize("kind", ["int64", "uint64"])
@pytest.mark.parametrize(("given", "meant"), [(0, 5), (1, 1), (9, 9)])
def test_priority(kind: str, given: int, meant: int) -> None:
    assert read_parameters(request(priority=(kind, given))).priority == meant


@pytest.mark.parametrize("kind", ["int64", "uint64"])
def test_timeout(kind: str) -> None:
    assert read_parameters(request(timeout=(kind, 1500))).timeout_us == 1500


@pytest.mark.parametrize(
    ("kind", "value"), [("int64", 1), ("uint64", 2**64 - 1), ("string", "a sequence"), ("string", "0")]
)
def test_sequences_are_numbers_or_texts(kind: str, value: int | str) -> None:
    made = request(sequence_id=(kind, value), sequence_start=("bool", True), sequence_end=("bool", False))
    assert read_parameters(made).sequence == Sequence(value, start=True, end=False)


def test_flags_that_are_not_set_need_no_sequence() -> None:
    made = request(sequence_start=("bool", False), sequence_end=("bool", False))
    assert read_parameters(made).sequence is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"priority": ("int64", -1)}, "parameter 'priority': expected an integer from 0 to 9, got -1"),
        ({"priority": ("uint64", 10)}, "parameter 'priority': expected an integer from 0 to 9, got 10"),
        ({"priority": ("string", "1")}, "parameter 'priority': expected an integer, got string_param '1'"),
        ({"priority": ("double", 1.0)}, "parameter 'priority': expected an integer, got double_param 1.0"),
        ({"priority": ("bool", True)}, "parameter 'priority': expected an integer, got bool_param True"),
        ({"priority": ("", None)}, "parameter 'priority': expected an integer, got no value"),
        ({"timeout": ("int64", 0)}, "parameter 'timeout': expected an integer from 1 to"),
        ({"timeout": ("int64", -5)}, "parameter 'timeout': expected an integer from 1 to"),
        ({"timeout": ("uint64", 2**63)}, "parameter 'timeout': expected an integer from 1 to"),
        ({"timeout": ("string", "5 s")}, "parameter 'timeout': expected an integer, got string_param '5 s'"),
        ({"sequence_id": ("int64", 0)}, "parameter 'sequence_id': expected an integer from 1 to"),
        ({"sequence_id": ("int64", -3)}, "parameter 'sequence_id': expected an integer from 1 to"),
        ({"sequence_id": ("string", "")}, "parameter 'sequence_id': expected a text that is not empty"),
        ({"sequence_id": ("bool", True)}, "parameter 'sequence_id': expected an integer, got bool_param True"),
        ({"sequence_start": ("int64", 1)}, "parameter 'sequence_start': expected a bool, got int64_param 1"),
        ({"sequence_end": ("string", "y")}, "parameter 'sequence_end': expected a bool, got string_param 'y'"),
        ({"sequence_start": ("bool", True)}, "parameter 'sequence_start': expected beside a sequence_id, got none"),
        ({"sequence_end": ("bool", True)}, "parameter 'sequence_end': expected beside a sequence_id, got none"),
        ({"routing_key": ("int64", 7)}, "parameter 'routing_key': expected a text, got int64_param 7"),
        ({"routing_key": ("string", "")}, "parameter 'routing_key': expected a text that is not empty"),
        (
            {"triton_enable_empty_final_response": ("string", "y")},
            "parameter 'triton_enable_empty_final_response': expected a bool, got string_param 'y'",
        ),
    ],
)
def test_refusals_name_the_parameter(given: dict[str, tuple[str, Any]], said: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        read_parameters(request(**given))
    assert refused.value.message.startswith(said)


def output(kind: str, value: Any) -> messages.ModelInferRequest.InferRequestedOutputTensor:
    made = Output(name="y")
    made.parameters["classification"].CopyFrom(parameter(kind, value))
    return made


def test_classification() -> None:
    assert read_classification(Output(name="y")) == 0
    assert read_classification(output("int64", 3)) == 3


@pytest.mark.parametrize(("kind", "value"), [("int64", 0), ("int64", -1), ("uint64", 2**31), ("string", "3")])
def test_refused_classifications_name_the_output(kind: str, value: Any) -> None:
    with pytest.raises(InvalidInputError, match="output 'y': parameter 'classification': expected an integer"):
        read_classification(output(kind, value))
