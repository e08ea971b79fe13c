"""Formats that the registry takes and that no runtime of a worker knows yet."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.aio import Client
from modelyard.errors import InvalidInputError, ModelExecutionError
from tests import programs
from tests.integration.serving.conftest import Workbench

pytestmark = pytest.mark.filterwarnings("ignore")  # of torch's, while it exports


async def test_a_torch_export_program_is_published_and_fails_to_load_with_a_reason(
    client: Client, bench: Workbench, tmp_path: Path
) -> None:
    bench.names.add("exported")
    published = await client.push("exported", programs.classifier(tmp_path / "m.pt2"))
    assert published.format == "torch_export"
    assert [str(t) for t in published.signature.inputs] == ["x: FP32 [-1, 64]"]
    with pytest.raises(ModelExecutionError, match="format: expected onnx, got 'torch_export'"):
        await client.deploy("exported")
    (instance,) = (await client.deployment("exported")).instances
    assert instance.state == "FAILED"


async def test_a_checkpoint_is_refused_before_it_is_sent(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(programs.torch_save({"weight": None}))
    with pytest.raises(InvalidInputError, match=r"model\.pt looks like a pickle, .*torch\.onnx\.export\("):
        await client.push("checkpoint", path)
    assert "checkpoint" not in {m.name for m in await client.models()}
