"""What a deployment may choose, whatever the engine; the labels; and that closing gives memory back."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import onnxruntime as ort
import psutil
import pytest
import torch

from modelyard.deployment import InstanceOptions
from modelyard.errors import InvalidInputError
from modelyard_worker import runtimes
from modelyard_worker.runtimes.labels import MAX_BYTES
from tests import models, programs

MIB = 1 << 20


@pytest.fixture(params=runtimes.FORMATS)
def artifact(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """A format and a directory with a small model of it."""
    if request.param == "onnx":
        models.save(models.mlp((64, 10)), tmp_path / "model.onnx")
    else:
        programs.classifier(tmp_path / "m.pt2")
    return request.param, tmp_path


@pytest.mark.parametrize("options", [InstanceOptions(), InstanceOptions(threads=3, device="cpu", precision="fp32")])
def test_what_every_engine_can_do(options: InstanceOptions, artifact: tuple[str, Path]) -> None:
    runtime = runtimes.load(*artifact, options, 2)
    (output,) = runtime.signature.outputs
    assert runtime.run({"x": np.zeros((2, 64), np.float32)}, [output.name])[output.name].shape == (2, 10)
    assert runtime.labels == ()


@pytest.mark.parametrize("device", ["tpu", "cpu:0", "cuda:", "cuda:-1", "cuda:x", "CUDA", "cuda:¹"])
def test_a_device_that_is_none(device: str, artifact: tuple[str, Path]) -> None:
    with pytest.raises(InvalidInputError, match=f"device: expected cpu, cuda or cuda with a number .* got '{device}'"):
        runtimes.load(*artifact, InstanceOptions(device=device), 1)


def test_a_gpu_where_there_is_none(artifact: tuple[str, Path]) -> None:
    if torch.cuda.is_available() or "CUDAExecutionProvider" in ort.get_available_providers():
        pytest.skip("an engine finds a GPU here")
    with pytest.raises(InvalidInputError, match=r"device: expected .*cpu.* got 'cuda'"):
        runtimes.load(*artifact, InstanceOptions(device="cuda"), 1)


@pytest.mark.parametrize("precision", ["int8", "FP16"])
def test_a_precision_that_is_none(precision: str, artifact: tuple[str, Path]) -> None:
    with pytest.raises(
        InvalidInputError, match=f"precision: expected one of fp32, tf32, bf16, fp16, got '{precision}'"
    ):
        runtimes.load(*artifact, InstanceOptions(precision=precision), 1)


def test_a_precision_that_the_cpu_has_not(artifact: tuple[str, Path]) -> None:
    with pytest.raises(InvalidInputError, match=f"precision: expected fp32.* for {artifact[0]} on cpu, got 'tf32'"):
        runtimes.load(*artifact, InstanceOptions(precision="tf32"), 1)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_onnx_is_computed_in_the_precision_that_it_has(precision: str, tmp_path: Path) -> None:
    models.save(models.mlp((64, 10)), tmp_path / "model.onnx")
    with pytest.raises(
        InvalidInputError, match=r"expected fp32 for onnx on cpu, .*; export the model in that precision"
    ):
        runtimes.load("onnx", tmp_path, InstanceOptions(precision=precision), 1)


@pytest.mark.parametrize(
    ("content", "labels"),
    [
        ("cat\ndog\n", ("cat", "dog")),
        ("cat\r\nSchäferhund\x0b", ("cat", "Schäferhund\x0b")),
        ("a\n\nc", ("a", "", "c")),
        ("", ()),
    ],
)
def test_labels_come_with_the_artifact(content: str, labels: tuple[str, ...], artifact: tuple[str, Path]) -> None:
    (artifact[1] / "labels.txt").write_bytes(content.encode())
    assert runtimes.load(*artifact, InstanceOptions(), 1).labels == labels


def test_labels_that_are_no_text(artifact: tuple[str, Path]) -> None:
    path = artifact[1] / "labels.txt"
    path.write_bytes(b"cat\n\xff\xfe")
    with pytest.raises(InvalidInputError, match=r"labels\.txt: expected text in UTF-8, got .* at byte 4"):
        runtimes.load(*artifact, InstanceOptions(), 1)
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(InvalidInputError, match=r"labels\.txt: expected at most 16777216 bytes, got 16777217"):
        runtimes.load(*artifact, InstanceOptions(), 1)


@pytest.mark.filterwarnings("ignore")  # of torch's, while it exports
@pytest.mark.parametrize("format_name", runtimes.FORMATS)
def test_closing_gives_memory_back(format_name: str, tmp_path: Path) -> None:
    """Loading, running and closing 16 MiB of weights again and again takes no more memory than the first time did."""
    if format_name == "onnx":
        models.save(models.mlp((2048, 2048, 16)), tmp_path / "model.onnx")
    else:
        programs.classifier(tmp_path / "m.pt2", (2048, 2048))
    process = psutil.Process()

    def cycle() -> int:
        runtime = runtimes.load(format_name, tmp_path, InstanceOptions(), 1)
        output = runtime.signature.outputs[0].name
        runtime.run({"x": np.zeros((64, 2048), np.float32)}, [output])
        held_bytes = int(process.memory_info().rss)
        runtime.close()
        return held_bytes - int(process.memory_info().rss)

    cycle()
    gc.collect()
    before_bytes = process.memory_info().rss
    for _ in range(3):
        assert cycle() > 15 * MIB
    assert process.memory_info().rss - before_bytes < 8 * MIB
