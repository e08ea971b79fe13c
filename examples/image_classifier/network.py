"""A small convolutional network whose weights are set by hand, not learnt, so that what it answers can be foreseen.

It tells five kinds of images apart: mostly red, green or blue ones, and black and white stripes that lie or stand. It
is no ImageNet classifier; it has such a one's input, and its label comes out of the model itself.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Floats = npt.NDArray[np.float32]

SIZE = 224
LABELS = ("red", "green", "blue", "lying stripes", "standing stripes")

_EDGE = 8.0
"""The weight of edges: stripes of 16 pixels score about as much as a plain colour does."""


def _kernels() -> Floats:
    """Five filters of 3x3 over three channels: each colour, and the slope of brightness downwards and to the right."""
    kernels = np.zeros((5, 3, 3, 3), np.float32)
    for channel in range(3):
        kernels[channel, channel, 1, 1] = 1
        kernels[3, channel, :, 1] = kernels[4, channel, 1, :] = [-1 / 3, 0, 1 / 3]
    return kernels


def _scores() -> Floats:
    """How much each filter's mean speaks for each label: [filter, label]."""
    weights = np.zeros((5, 5), np.float32)
    weights[:3, :3] = 1.5 * np.eye(3) - 0.5  # more of this colour than of the others
    weights[3:, 3:] = _EDGE * np.array([[1, -1], [-1, 1]])
    return 10 * weights


def build() -> onnx.ModelProto:
    """Return the model: x FP32 [batch, 3, 224, 224] in [0, 1] -> label BYTES [batch], scores FP32 [batch, 5]."""
    nodes = [
        helper.make_node("Conv", ["x", "kernels"], ["filtered"]),
        helper.make_node("Abs", ["filtered"], ["magnitudes"]),
        helper.make_node("GlobalAveragePool", ["magnitudes"], ["means"]),
        helper.make_node("Flatten", ["means"], ["features"]),
        helper.make_node("MatMul", ["features", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"]),
        helper.make_node("ArgMax", ["scores"], ["index"], axis=1, keepdims=0),
        helper.make_node("Gather", ["labels", "index"], ["label"]),
    ]
    constants = [
        numpy_helper.from_array(_kernels(), "kernels"),
        numpy_helper.from_array(_scores(), "weights"),
        numpy_helper.from_array(np.array(LABELS, object), "labels"),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, SIZE, SIZE])]
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.STRING, ["batch"]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", len(LABELS)]),
    ]
    graph = helper.make_graph(nodes, "image_classifier", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


def save(directory: Path) -> Path:
    """Write model.onnx and labels.txt, for Triton's classification extension; return the directory."""
    directory.mkdir(parents=True)
    onnx.save_model(build(), directory / "model.onnx")
    (directory / "labels.txt").write_text("".join(f"{label}\n" for label in LABELS))
    return directory


def images(seed: int = 0) -> Floats:
    """An image of each label, in their order, with a little noise: FP32 [5, 3, 224, 224] in [0, 1]."""
    found = np.zeros((len(LABELS), 3, SIZE, SIZE), np.float32)
    for channel in range(3):
        found[channel, channel] = 0.9
    stripes = (np.arange(SIZE) // 16 % 2).astype(np.float32)
    found[3], found[4] = stripes[:, None], stripes[None, :]
    noise = np.random.default_rng(seed).uniform(-0.05, 0.05, found.shape).astype(np.float32)
    clipped: Floats = np.clip(found + noise, 0, 1)
    return clipped
