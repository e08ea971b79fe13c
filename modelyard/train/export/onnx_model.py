"""The trained module as an ONNX model, which the onnx runtime serves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import onnxruntime as ort
import torch
from torch.export import ExportedProgram

from modelyard.catalogue import Signature, TensorSpec
from modelyard.errors import InvalidInputError
from modelyard.oip.datatypes import OF_ONNX_RUNTIME
from modelyard.train.export.values import Inputs, Outputs

FILE = "model.onnx"
OPSET = 18
"""The one that torch's exporter writes by itself, without a conversion; ONNX Runtime reads it since 1.14."""

EXTERNAL_BYTES = 1 << 30
"""Weights of more than this stand in a file beside the model: protobuf has room for 2 GiB."""

_NO_ARRAYS = ("BF16", "BYTES")
"""What ONNX Runtime's Python neither takes nor returns as arrays that torch knows."""


class OnnxModel:
    """An .onnx file as it is read again, on the CPU, with one thread."""

    def __init__(self, path: Path) -> None:
        """Raises what onnx's checker and ONNX Runtime raise of a model that is not as it should be."""
        onnx.checker.check_model(path)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        self.signature = Signature(tuple(map(_spec, inputs)), tuple(map(_spec, outputs)))

    def __call__(self, inputs: Inputs) -> Outputs:
        """Return the outputs by name. Raises InvalidInputError, if the model has other inputs."""
        wanted = [tensor.name for tensor in self.signature.inputs]
        if wanted != list(inputs):
            raise InvalidInputError(f"expected the inputs {', '.join(inputs)}; got {', '.join(wanted)}")
        names = [tensor.name for tensor in self.signature.outputs]
        found = self._session.run(names, {name: tensor.numpy() for name, tensor in inputs.items()})
        return {name: torch.from_numpy(array) for name, array in zip(names, found, strict=True)}


def write(program: ExportedProgram, directory: Path, outputs: Sequence[str]) -> OnnxModel:
    """Write a program as ONNX, with these names of its outputs; return what was written.

    Raises:
        Exception: what torch's exporter raises of operators that it does not know, and what OnnxModel raises.
    """
    path = directory / FILE
    weights_bytes = sum(tensor.nbytes for tensor in program.state_dict.values())
    model = torch.onnx.export(program, dynamo=True, opset_version=OPSET, output_names=list(outputs), verbose=False)
    if model is None:  # only of the TorchScript exporter
        raise InvalidInputError("expected torch.onnx.export to return a model, got none")
    model.save(path, external_data=weights_bytes > EXTERNAL_BYTES)
    return OnnxModel(path)


def _spec(node: Any) -> TensorSpec:
    datatype = OF_ONNX_RUNTIME.get(node.type)
    if datatype is None or datatype in _NO_ARRAYS:
        raise InvalidInputError(f"{node.name}: expected a tensor of a datatype that is served, got {node.type}")
    return TensorSpec(node.name, datatype, tuple(size if isinstance(size, int) else -1 for size in node.shape))
