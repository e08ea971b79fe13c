"""One call: check the request against the signature, run the model, build the response."""

from __future__ import annotations

from collections.abc import Sequence

from modelyard.catalogue import Signature, TensorSpec
from modelyard.errors import InvalidInputError, ModelExecutionError
from modelyard.names import ModelVersion
from modelyard.oip import messages
from modelyard.oip.tensors import Array, decode_inputs, parse_request, to_raw
from modelyard_worker.runtimes import Runtime


class Evaluator:
    """Answers requests for one loaded version."""

    def __init__(self, instance: ModelVersion, worker: str, runtime: Runtime) -> None:
        self._instance = instance
        self._worker = worker
        self._runtime = runtime

    def infer(self, data: bytes) -> bytes:
        """Answer a serialized ModelInferRequest with a serialized ModelInferResponse.

        Raises:
            InvalidInputError: the request does not fit the model; the message names model, tensor, expected and got.
            ModelExecutionError: the model failed.
        """
        request = parse_request(data)
        signature = self._runtime.signature
        try:
            inputs = check_inputs(signature, decode_inputs(request))
            names = check_outputs(signature, [o.name for o in request.outputs])
            outputs = self._runtime.run(inputs, names)
        except (InvalidInputError, ModelExecutionError) as error:
            raise type(error)(f"model {str(self._instance)!r}: {error.message}") from None
        return self._response(request, {name: outputs[name] for name in names}).SerializeToString()

    def _response(self, request: messages.ModelInferRequest, outputs: dict[str, Array]) -> messages.ModelInferResponse:
        response = messages.ModelInferResponse(
            model_name=request.model_name, model_version=self._instance.version, id=request.id
        )
        response.parameters["worker"].string_param = self._worker
        kinds = {t.name: t.datatype for t in self._runtime.signature.outputs}
        for name, array in outputs.items():
            response.outputs.add(name=name, datatype=kinds[name], shape=array.shape)
            response.raw_output_contents.append(to_raw(array, kinds[name]))
        return response


def check_inputs(signature: Signature, inputs: dict[str, tuple[str, Array]]) -> dict[str, Array]:
    """Return the arrays, or raise InvalidInputError where one is missing, not known or does not fit."""
    expected = {t.name: t for t in signature.inputs}
    described = "; ".join(str(t) for t in signature.inputs)
    for name in inputs:
        if name not in expected:
            raise InvalidInputError(f"unexpected input {name!r}; expected {described}")
    for name, spec in expected.items():
        if name not in inputs:
            got = ", ".join(repr(n) for n in inputs) or "none"
            raise InvalidInputError(f"missing input {name!r}; expected {described}, got {got}")
        _check_tensor(spec, *inputs[name])
    return {name: array for name, (_, array) in inputs.items()}


def _check_tensor(spec: TensorSpec, datatype: str, array: Array) -> None:
    if datatype != spec.datatype:
        raise InvalidInputError(f"input {spec.name!r}: expected datatype {spec.datatype}, got {datatype}")
    fits = len(array.shape) == len(spec.shape) and all(
        want in (-1, got) for want, got in zip(spec.shape, array.shape, strict=True)
    )
    if not fits:
        raise InvalidInputError(f"input {spec.name!r}: expected shape {list(spec.shape)}, got {list(array.shape)}")


def check_outputs(signature: Signature, asked: Sequence[str]) -> list[str]:
    """Return the outputs asked for, all where none was; raise InvalidInputError for one that the model has not."""
    known = [t.name for t in signature.outputs]
    for name in asked:
        if name not in known:
            raise InvalidInputError(f"unexpected output {name!r}; expected of {', '.join(known)}")
    return list(asked) or known
