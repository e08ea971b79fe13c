"""Both engines on a GPU: equal to the CPU within its rounding, in every precision, and its memory given back.

Skipped where an engine finds no GPU; `make cuda` runs these alone and records what ran.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch

from modelyard.deployment import InstanceOptions
from modelyard.errors import InvalidInputError
from modelyard.oip.tensors import Array
from modelyard_worker import runtimes
from modelyard_worker.devices import found_devices
from tests import models, programs

WITHOUT = {
    "onnx": "" if "CUDAExecutionProvider" in ort.get_available_providers() else "this ONNX Runtime is a build for CPUs",
    "torch_export": "" if torch.cuda.is_available() else "torch finds no GPU",
}
TOLERANCE = {"": 1e-5, "fp32": 1e-5, "tf32": 1e-2, "bf16": 3e-2, "fp16": 1e-2}

pytestmark = [pytest.mark.cuda, pytest.mark.filterwarnings("ignore")]  # of torch's, while it exports


@pytest.fixture(params=runtimes.FORMATS)
def artifact(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """A format, of which an engine has a GPU, and a directory with a model of it."""
    if WITHOUT[request.param]:
        pytest.skip(WITHOUT[request.param])
    if request.param == "onnx":
        models.save(models.mlp((256, 256, 10)), tmp_path / "model.onnx")
    else:
        programs.classifier(tmp_path / "m.pt2", (256, 10))
    return request.param, tmp_path


def rows(count: int) -> Array:
    return np.random.default_rng(count).standard_normal((count, 256), dtype=np.float32)


def answers(artifact: tuple[str, Path], options: InstanceOptions, x: Array) -> Array:
    runtime = runtimes.load(*artifact, options, 1)
    name = runtime.signature.outputs[0].name
    found = runtime.run({"x": x}, [name])[name]
    runtime.close()
    return found


@pytest.mark.parametrize("count", [1, 2, 33])
@pytest.mark.parametrize("precision", ["", "fp32"])
def test_answers_equal_the_cpus(precision: str, count: int, artifact: tuple[str, Path]) -> None:
    expected = answers(artifact, InstanceOptions(), rows(count))
    found = answers(artifact, InstanceOptions(device="cuda", precision=precision), rows(count))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=TOLERANCE[precision])


@pytest.mark.parametrize("precision", ["tf32", "bf16", "fp16"])
def test_lower_precisions_keep_the_signature(precision: str, artifact: tuple[str, Path]) -> None:
    options = InstanceOptions(device="cuda:0", precision=precision)
    if artifact[0] == "onnx" and precision != "tf32":
        with pytest.raises(InvalidInputError, match="precision: expected fp32 or tf32 for onnx on cuda"):
            runtimes.load(*artifact, options, 1)
        return
    found = answers(artifact, options, rows(8))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, answers(artifact, InstanceOptions(), rows(8)), atol=TOLERANCE[precision])


def test_a_gpu_that_is_not_there(artifact: tuple[str, Path]) -> None:
    with pytest.raises(InvalidInputError, match=r"device: expected .*'?cuda:?99"):
        runtimes.load(*artifact, InstanceOptions(device="cuda:99"), 1)


def test_closing_gives_the_gpus_memory_back(tmp_path: Path) -> None:
    if WITHOUT["torch_export"]:
        pytest.skip(WITHOUT["torch_export"])
    programs.classifier(tmp_path / "m.pt2", (2048, 2048))
    runtime = runtimes.load("torch_export", tmp_path, InstanceOptions(device="cuda"), 1)
    runtime.run({"x": np.zeros((8, 2048), np.float32)}, ["output"])
    assert torch.cuda.memory_allocated() >= 16 << 20
    runtime.close()
    assert torch.cuda.memory_allocated() < 16 << 20


def test_what_is_announced_can_be_used() -> None:
    found = found_devices()
    if not found:
        pytest.skip("no GPU that an engine can use")
    assert [device.name for device in found] == [f"cuda:{index}" for index in range(len(found))]
    assert all(device.memory_bytes > 1 << 30 for device in found)
