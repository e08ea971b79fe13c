"""A classifier of scikit-learn's handwritten digits as ONNX, and the digits as a CSV file."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

OPSET, IR_VERSION = 20, 10
PIXELS, CLASSES = 64, 10
BRIGHTEST = 16
STEPS = 300


@dataclass(frozen=True)
class Images:
    """Images of 8x8 pixels from 0 to 16 as rows of 64, and which digit each is."""

    pixels: npt.NDArray[np.int64]
    digits: npt.NDArray[np.int64]

    @property
    def ids(self) -> list[str]:
        """A name for each."""
        return [f"image-{number:04d}" for number in range(len(self.pixels))]


def load(seed: int = 0) -> tuple[Images, Images]:
    """Return 1,437 images to learn from, and 360 others."""
    x, y = load_digits(return_X_y=True)
    split = train_test_split(x.astype(np.int64), y.astype(np.int64), test_size=0.2, random_state=seed, stratify=y)
    return Images(split[0], split[2]), Images(split[1], split[3])


def learn(images: Images) -> npt.NDArray[np.float64]:
    """Minimise the cross-entropy of a linear classifier; return its weights [64, 10]."""
    x, wanted = images.pixels / BRIGHTEST, np.eye(CLASSES)[images.digits]
    weights = np.zeros((PIXELS, CLASSES))
    for _ in range(STEPS):
        scores = np.exp(x @ weights)
        weights -= x.T @ (scores / scores.sum(axis=1, keepdims=True) - wanted) / len(x)
    return weights / BRIGHTEST


def save(images: Images, path: Path) -> Path:
    """Learn from images; write a model: pixels FP32 [-1, 64] -> digit INT64 [-1], certainty FP32 [-1]."""
    weights = [
        numpy_helper.from_array(learn(images).astype(np.float32), "weights"),
        numpy_helper.from_array(np.array([1]), "axis"),
    ]
    nodes = [
        helper.make_node("MatMul", ["pixels", "weights"], ["scores"]),
        helper.make_node("ArgMax", ["scores"], ["digit"], axis=1, keepdims=0),
        helper.make_node("Softmax", ["scores"], ["shares"], axis=1),
        helper.make_node("ReduceMax", ["shares", "axis"], ["certainty"], keepdims=0),
    ]
    inputs = [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["rows", PIXELS])]
    outputs = [
        helper.make_tensor_value_info("digit", TensorProto.INT64, ["rows"]),
        helper.make_tensor_value_info("certainty", TensorProto.FLOAT, ["rows"]),
    ]
    graph = helper.make_graph(nodes, "digits", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def write_csv(images: Images, path: Path, damaged: int) -> Path:
    """Write a column `id` and one for each pixel; in one row a pixel is missing."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["id", *(f"p{pixel}" for pixel in range(PIXELS))])
        for number, (name, pixels) in enumerate(zip(images.ids, images.pixels.tolist(), strict=True)):
            rows.writerow([name, *pixels[:-1], "" if number == damaged else pixels[-1]])
    return path
