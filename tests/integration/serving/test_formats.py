"""Every format that the registry takes and a runtime knows, from the push to an answer; and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from safetensors.numpy import save

from modelyard.aio import Client
from modelyard.errors import InvalidInputError, ModelExecutionError
from modelyard.oip.tensors import Array
from tests import models, programs
from tests.integration.serving.conftest import Workbench

pytestmark = pytest.mark.filterwarnings("ignore")  # of torch's, while it exports

BATCHES = (1, 2, 7)


def rows(count: int) -> Array:
    return np.random.default_rng(count).standard_normal((count, 64), dtype=np.float32)


async def test_a_torch_export_program_answers_as_a_local_run_does(
    client: Client, bench: Workbench, tmp_path: Path
) -> None:
    bench.names.add("exported")
    path = programs.classifier(tmp_path / "m.pt2")
    published = await client.push("exported", path)
    assert published.format == "torch_export"
    (instance,) = (await client.deploy("exported")).instances
    assert instance.state == "READY"
    metadata = await client.metadata("exported")
    assert (metadata.platform, metadata.signature) == ("torch_export", published.signature)
    local = torch.export.load(path).module()
    for count in BATCHES:
        with torch.inference_mode():
            expected = local(torch.from_numpy(rows(count))).numpy()
        found = (await client.infer("exported", {"x": rows(count)}))["output"]
        np.testing.assert_allclose(found, expected, rtol=1e-6)


async def test_an_onnx_model_answers_as_a_local_run_does(client: Client, bench: Workbench) -> None:
    await bench.serve("open", models.mlp())
    local = ort.InferenceSession(str(bench.directory / "open.onnx"), providers=["CPUExecutionProvider"])
    for count in BATCHES:
        (expected,) = local.run(None, {"x": rows(count)})
        found = (await client.infer("open", {"x": rows(count)}))["y"]
        np.testing.assert_allclose(found, expected, rtol=1e-6)


async def test_weights_alone_are_published_and_fail_to_load_with_a_reason(
    client: Client, bench: Workbench, tmp_path: Path
) -> None:
    bench.names.add("weights")
    tensor = {"datatype": "FP32", "shape": [-1, 2]}
    recipe = {"inputs": [{"name": "x", **tensor}], "outputs": [{"name": "y", **tensor}]}
    (tmp_path / "recipe.json").write_text(json.dumps({"signature": recipe}))
    (tmp_path / "m.safetensors").write_bytes(save({"w": np.ones((2, 2), np.float32)}))
    published = await client.push("weights", tmp_path)
    assert published.format == "safetensors"
    with pytest.raises(ModelExecutionError, match="format: expected onnx or torch_export, got 'safetensors'"):
        await client.deploy("weights")
    (instance,) = (await client.deployment("weights")).instances
    assert instance.state == "FAILED"


async def test_a_checkpoint_is_refused_before_it_is_sent(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(programs.torch_save({"weight": None}))
    with pytest.raises(InvalidInputError, match=r"model\.pt looks like a pickle, .*torch\.onnx\.export\("):
        await client.push("checkpoint", path)
    assert "checkpoint" not in {m.name for m in await client.models()}
