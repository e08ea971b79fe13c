"""The models that all serve, with the same settings."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx.backend.test

from modelyard.oip.tensors import encode_request
from tests import models

TENSOR_BYTES = 16 << 20


@dataclass(frozen=True)
class Model:
    """An ONNX model of one FP32 input and one FP32 output.

    Attributes:
        shape: of the input of one request; of the model's own signature -1 stands for its first where it is batched.
        threads: of ONNX Runtime, for the operators.
        max_batch_size: rows that a server may join into one execution; 0: none, the first dimension is no batch.
    """

    name: str
    onnx: bytes
    input: str
    shape: tuple[int, ...]
    output: str
    output_shape: tuple[int, ...]
    threads: int
    max_batch_size: int

    def request(self, name: str) -> bytes:
        """A serialized ModelInferRequest under the name that a server knows it by."""
        data = np.random.default_rng(0).random(self.shape, np.float32)
        return encode_request(name, "", {self.input: data}).SerializeToString()


def mlp() -> Model:
    """64-128-128-10, batch 1, joined to batches of at most 64; one thread: more only cost at this size."""
    graph = models.mlp().SerializeToString()
    return Model("mlp", graph, "x", (1, 64), "y", (1, 10), threads=1, max_batch_size=64)


def resnet50() -> Model:
    """light_resnet50 of the onnx package's test data: its weights are constants, its batch is fixed to 1."""
    path = Path(onnx.backend.test.__file__).parent / "data" / "light" / "light_resnet50.onnx"
    graph = onnx.load(path).graph
    weights = {tensor.name for tensor in graph.initializer}
    (given,) = [tensor for tensor in graph.input if tensor.name not in weights]
    shapes = [tuple(d.dim_value for d in t.type.tensor_type.shape.dim) for t in (given, graph.output[0])]
    threads = os.cpu_count() or 1
    return Model("resnet50", path.read_bytes(), given.name, shapes[0], graph.output[0].name, shapes[1], threads, 0)


def tensor() -> Model:
    """Returns its input of 16 MiB."""
    shape = (1, TENSOR_BYTES // 4)
    graph = models.identity("FP32", shape).SerializeToString()
    return Model("tensor", graph, "x", shape, "y", shape, threads=1, max_batch_size=0)
