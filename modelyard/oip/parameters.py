"""The reserved parameters of a call: priority, timeout, sequence_id, sequence_start, sequence_end, routing_key; and of
an output: classification. Parameters of other names pass: the protocol lets clients add some.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from modelyard.errors import InvalidInputError
from modelyard.oip import messages

MAX_PRIORITY = 9
DEFAULT_PRIORITY = 5
MAX_TIMEOUT_US = (1 << 63) - 1
MAX_SEQUENCE_ID = (1 << 64) - 1
MAX_COUNT = (1 << 31) - 1

EMPTY_FINAL_RESPONSE = "triton_enable_empty_final_response"
"""Of a call on a stream: Triton's flag that asks for a mark on the last response."""
Parameter = messages.InferParameter | messages.ModelRepositoryParameter
Parameters = Mapping[str, messages.InferParameter]


@dataclass(frozen=True)
class Sequence:
    """Of which sequence a call is a part: its id is a number above 0 or a text that is not empty."""

    id: int | str
    start: bool = False
    end: bool = False


@dataclass(frozen=True)
class CallParameters:
    """What a call asks of the queue.

    Attributes:
        priority: 1 is the highest, 9 the lowest.
        timeout_us: how long it may wait in the queue; 0: as long as its deadline lets it.
        sequence: the sequence that it belongs to.
    """

    priority: int = DEFAULT_PRIORITY
    timeout_us: int = 0
    sequence: Sequence | None = None


_DEFAULT = CallParameters()


def read_parameters(request: messages.ModelInferRequest) -> CallParameters:
    """Return the parameters of a call.

    Raises:
        InvalidInputError: one is of a wrong type or out of range; the message names it.
    """
    found: Parameters = request.parameters
    if not found:
        return _DEFAULT
    read_text(found, "routing_key")
    read_flag(found, EMPTY_FINAL_RESPONSE)
    priority = read_integer(found, "priority", 0, MAX_PRIORITY)
    timeout_us = read_integer(found, "timeout", 1, MAX_TIMEOUT_US)
    return CallParameters(priority or DEFAULT_PRIORITY, timeout_us or 0, read_sequence(found))


def read_sequence(parameters: Parameters) -> Sequence | None:
    """Return the sequence that is named; None where there is none.

    Raises:
        InvalidInputError: an id of 0, negative or empty, a flag that is no bool, or a flag that is set without an id.
    """
    start, end = read_flag(parameters, "sequence_start"), read_flag(parameters, "sequence_end")
    if "sequence_id" not in parameters:
        for name, is_set in (("sequence_start", start), ("sequence_end", end)):
            if is_set:
                raise InvalidInputError(f"parameter {name!r}: expected beside a sequence_id, got none")
        return None
    if _kind(parameters["sequence_id"]) == "string_param":
        return Sequence(read_text(parameters, "sequence_id"), start, end)
    return Sequence(read_integer(parameters, "sequence_id", 1, MAX_SEQUENCE_ID) or 0, start, end)


def read_classification(output: messages.ModelInferRequest.InferRequestedOutputTensor) -> int:
    """How many classes are asked for of an output; 0: it is wanted as it is.

    Raises:
        InvalidInputError: the parameter is no integer above 0.
    """
    if not output.parameters:
        return 0
    return read_integer(output.parameters, "classification", 1, MAX_COUNT, f"output {output.name!r}: ") or 0


def read_integer(parameters: Parameters, name: str, least: int, most: int, owner: str = "") -> int | None:
    """Return a parameter that must be an integer within bounds; None where it is absent.

    `owner` begins the message of the InvalidInputError, as in "output 'y': ".
    """
    if name not in parameters:
        return None
    parameter = parameters[name]
    kind = _kind(parameter)
    if kind not in {"int64_param", "uint64_param"}:
        raise _mismatch(owner, name, "an integer", parameter)
    value: int = getattr(parameter, kind)
    if not least <= value <= most:
        raise InvalidInputError(f"{owner}parameter {name!r}: expected an integer from {least} to {most}, got {value}")
    return value


def read_flag(parameters: Parameters, name: str) -> bool:
    """Return a parameter that must be a bool; False where it is absent."""
    if name not in parameters:
        return False
    parameter = parameters[name]
    if _kind(parameter) != "bool_param":
        raise _mismatch("", name, "a bool", parameter)
    return parameter.bool_param


def read_text(parameters: Mapping[str, Parameter], name: str, owner: str = "") -> str:
    """Return a parameter that must be a text that is not empty; "" where it is absent."""
    if name not in parameters:
        return ""
    parameter = parameters[name]
    if _kind(parameter) != "string_param":
        raise _mismatch(owner, name, "a text", parameter)
    if not parameter.string_param:
        raise InvalidInputError(f"{owner}parameter {name!r}: expected a text that is not empty, got an empty one")
    return parameter.string_param


def _kind(parameter: Parameter) -> str | None:
    kind: str | None = parameter.WhichOneof("parameter_choice")
    return kind


def _mismatch(owner: str, name: str, expected: str, parameter: Parameter) -> InvalidInputError:
    kind = _kind(parameter)
    got = f"{kind} {getattr(parameter, kind)!r:.80}" if kind else "no value"
    return InvalidInputError(f"{owner}parameter {name!r}: expected {expected}, got {got}")
