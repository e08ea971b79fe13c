"""Requests of one version: read, checked against its signature, and what they ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from modelyard.catalogue import Signature, TensorSpec
from modelyard.errors import InvalidInputError
from modelyard.oip import messages
from modelyard.oip.parameters import CallParameters, read_classification, read_parameters
from modelyard.oip.tensors import Array, decode_inputs, parse_request
from modelyard_worker.runner.layouts import Buffer, Layouts, parse_large

LARGE_BYTES = 64 << 10
"""Of a larger request the tensors are not copied."""
MOST_KINDS = 1024


class Wanted(NamedTuple):
    """An output that is asked for; `classes`: as so many classes, 0: as it is."""

    name: str
    datatype: str
    classes: int


class Kind:
    """Calls of one kind can be stacked. Kinds are compared by identity."""

    __slots__ = ()


@dataclass(eq=False, slots=True)
class Form:
    """What a request is beside its id and the values of its tensors. Requests that look the same share it.

    Attributes:
        model_name: as the request has it.
        classified: whether classes are asked for instead of an output.
        rows: the first dimension of its inputs; 1 if it cannot be stacked.
        kind: None if it cannot be stacked.
        around: what stands around the id of responses, by the shapes of the outputs (see answers.py).
    """

    model_name: str
    outputs: tuple[Wanted, ...]
    parameters: CallParameters
    rows: int = 1
    kind: Kind | None = None
    around: dict[tuple[tuple[int, ...], ...], tuple[bytes, bytes]] = field(default_factory=dict)
    classified: bool = field(init=False)

    def __post_init__(self) -> None:
        self.classified = any(w.classes for w in self.outputs)


@dataclass(eq=False, slots=True)
class Request:
    """A request that fits; its id in UTF-8."""

    form: Form
    id: bytes
    inputs: dict[str, Array]


class Requests:
    """Reads the requests of one version. Used by one thread at a time."""

    def __init__(self, signature: Signature, *, batched: bool) -> None:
        """`batched`: whether the first dimension of every tensor is that of the rows."""
        self._signature = signature
        self._batched = batched
        self._layouts: Layouts[Form] = Layouts()
        self._kinds: dict[object, Kind] = {}

    def read(self, data: Buffer) -> Request:
        """Read a serialized ModelInferRequest.

        Raises:
            InvalidInputError: it does not fit the model; the message names the tensor, what was expected and what came.
        """
        found = self._layouts.find(data)
        return Request(*found) if found else self._parse(data)

    def _parse(self, data: Buffer) -> Request:
        raw: Sequence[Buffer]
        if len(data) > LARGE_BYTES:
            request, raw = parse_large(data)
        else:
            request = parse_request(bytes(data))
            raw = request.raw_input_contents
        decoded = decode_inputs(request, raw)
        inputs = check_inputs(self._signature, decoded)
        form = self._form(request, inputs)
        if raw and form.parameters.sequence is None:
            self._layouts.learn(data, request, raw, form)
        return Request(form, request.id.encode(), inputs)

    def _form(self, request: messages.ModelInferRequest, inputs: dict[str, Array]) -> Form:
        form = Form(request.model_name, check_outputs(self._signature, request.outputs), read_parameters(request))
        shapes = [inputs[t.name].shape for t in self._signature.inputs]
        rows = shapes[0][0] if self._batched and shapes and shapes[0] else 0
        if rows and all(shape[:1] == (rows,) for shape in shapes):
            form.rows = rows
            if form.parameters.sequence is None:
                form.kind = self._kind(tuple(shape[1:] for shape in shapes))
        return form

    def _kind(self, shapes: tuple[tuple[int, ...], ...]) -> Kind:
        kind = self._kinds.get(shapes)
        if kind is None:
            if len(self._kinds) >= MOST_KINDS:
                self._kinds.clear()  # calls that wait are not stacked with later ones
            kind = self._kinds[shapes] = Kind()
        return kind


def check_inputs(signature: Signature, inputs: dict[str, tuple[str, Array]]) -> dict[str, Array]:
    """Return the arrays, or raise InvalidInputError where one is missing, not known or does not fit."""
    expected = {t.name: t for t in signature.inputs}
    for name in inputs:
        if name not in expected:
            raise InvalidInputError(f"unexpected input {name!r}; expected {_described(signature)}")
    for name, spec in expected.items():
        if name not in inputs:
            got = ", ".join(repr(n) for n in inputs) or "none"
            raise InvalidInputError(f"missing input {name!r}; expected {_described(signature)}, got {got}")
        _check_tensor(spec, *inputs[name])
    return {name: array for name, (_, array) in inputs.items()}


def _described(signature: Signature) -> str:
    return "; ".join(str(t) for t in signature.inputs)


def _check_tensor(spec: TensorSpec, datatype: str, array: Array) -> None:
    if datatype != spec.datatype:
        raise InvalidInputError(f"input {spec.name!r}: expected datatype {spec.datatype}, got {datatype}")
    fits = len(array.shape) == len(spec.shape) and all(
        want in (-1, got) for want, got in zip(spec.shape, array.shape, strict=True)
    )
    if not fits:
        raise InvalidInputError(f"input {spec.name!r}: expected shape {list(spec.shape)}, got {list(array.shape)}")


def check_outputs(
    signature: Signature, asked: Sequence[messages.ModelInferRequest.InferRequestedOutputTensor]
) -> tuple[Wanted, ...]:
    """Return the outputs asked for, all where none was; raise InvalidInputError for one that the model has not."""
    known = {t.name: t.datatype for t in signature.outputs}
    for output in asked:
        if output.name not in known:
            raise InvalidInputError(f"unexpected output {output.name!r}; expected of {', '.join(known)}")
    wanted = {o.name: Wanted(o.name, known[o.name], read_classification(o)) for o in asked}
    return tuple(wanted.values()) or tuple(Wanted(name, datatype, 0) for name, datatype in known.items())


def check_batching(signature: Signature) -> None:
    """Raise InvalidInputError if a tensor's first dimension cannot be that of a batch."""
    for name, tensors in (("input", signature.inputs), ("output", signature.outputs)):
        for tensor in tensors:
            if tensor.shape[:1] != (-1,):
                raise InvalidInputError(
                    f"max_batch_size: expected 0, because the first dimension of {name} {tensor} is not dynamic"
                )
