"""A classifier of texts whose answers are known: an embedding with its vocabulary and its labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from modelyard.preprocessing.files import DIRECTORY
from modelyard.preprocessing.options import LabelOptions, TextOptions
from modelyard.preprocessing.preprocessing import Preprocessing
from tests import models

LENGTH = 8
GOOD, BAD = "great", "dull"


def preprocessing() -> Preprocessing:
    """text -> ids INT64 [-1, 8]; logits -> label (neg or pos) and score."""
    columns = {"text": np.array([f"a {GOOD} film", f"a {BAD} film"]), "label": np.array(["pos", "neg"])}
    return Preprocessing.fit(columns, [TextOptions(length=LENGTH, least=1), LabelOptions()])


def classifier(fitted: Preprocessing, length: int = LENGTH) -> onnx.ModelProto:
    """ids -> logits FP32 [-1, 2]: each GOOD is one more for pos, each BAD one more for neg."""
    assert fitted.vocabulary
    good, bad = fitted.vocabulary.ids([GOOD, BAD])[:, 0]
    table = np.zeros((fitted.vocabulary.size, 2), np.float32)
    table[good, 1] = table[bad, 0] = 1
    weights = [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.array([1]), "axis")]
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["embedded"]),
        helper.make_node("ReduceSum", ["embedded", "axis"], ["logits"], keepdims=0),
    ]
    inputs, outputs = models.tensor("ids", "INT64", [-1, length]), models.tensor("logits", "FP32", [-1, 2])
    return models.build(nodes, [inputs], [outputs], weights)


def score(more: int) -> float:
    """The score of a text that has so many more words of one kind than of the other."""
    return float(1 / (1 + np.exp(-more)))


def save(directory: Path, length: int = LENGTH) -> Path:
    """Write the artifact; return its directory."""
    fitted = preprocessing()
    models.save(classifier(fitted, length), directory / "model.onnx")
    fitted.save(directory / DIRECTORY)
    return directory
