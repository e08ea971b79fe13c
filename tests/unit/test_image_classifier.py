"""The network of examples/image_classifier: what it takes, and that its label is the image's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from examples.image_classifier.network import LABELS, images, save
from modelyard.catalogue import TensorSpec
from modelyard.deployment import InstanceOptions
from modelyard_worker import runtimes


def test_an_image_goes_in_and_a_label_comes_out(tmp_path: Path) -> None:
    runtime = runtimes.load("onnx", save(tmp_path / "artifact"), InstanceOptions(), 1)
    assert runtime.signature.inputs == (TensorSpec("x", "FP32", (-1, 3, 224, 224)),)
    assert runtime.signature.outputs == (TensorSpec("label", "BYTES", (-1,)), TensorSpec("scores", "FP32", (-1, 5)))
    assert runtime.labels == LABELS


@pytest.mark.parametrize("seed", range(3))
def test_every_image_is_labelled_alone_and_in_a_batch(seed: int, tmp_path: Path) -> None:
    runtime = runtimes.load("onnx", save(tmp_path / "artifact"), InstanceOptions(), 1)
    batch = images(seed)
    together = runtime.run({"x": batch}, ["label", "scores"])
    assert tuple(together["label"]) == LABELS
    np.testing.assert_allclose(together["scores"].sum(axis=1), 1, rtol=1e-5)
    for index, label in enumerate(LABELS):
        assert runtime.run({"x": batch[index : index + 1]}, ["label"])["label"].tolist() == [label]
