"""Trained modules become artifacts that the registry takes and a worker serves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from modelyard.catalogue import TensorSpec
from modelyard.chunks import guess_format, scan
from modelyard.errors import InvalidInputError
from modelyard.train.export import onnx_model
from modelyard.train.export.exporting import Exports, export
from modelyard.train.export.record import TrainingRecord
from modelyard.train.export.trained import Trained
from modelyard.train.export.weights import read_weights
from modelyard.train.position import Position
from modelyard_registry.formats.inspection import read_signature
from modelyard_worker.runtimes.onnx import OnnxRuntime
from modelyard_worker.runtimes.torch_export import TorchExportRuntime
from tests.unit.train.checkpoint.programs import equal
from tests.unit.train.export.modules import Branching, Classifier, Two, Unknown

RECORD = TrainingRecord(3, Position(9, 1, 2), {"loss": 0.5, "odd": float("nan")}, "data", "code", "job-1")


def trained(module: nn.Module, rows: dict[str, torch.Tensor], **companions: bytes) -> Trained:
    last = {name: tensor + 1 for name, tensor in module.state_dict().items()}
    best = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    return Trained(module, last, best, rows, RECORD, {f"{name}.txt": content for name, content in companions.items()})


def check_artifacts(exports: Exports, formats: list[str]) -> None:
    assert sorted(path.name for path in exports.directory.iterdir()) == sorted(formats)
    for name in formats:
        directory = exports.directory / name
        assert guess_format(scan(directory)) == name
        found = read_signature(name, directory, allow_unsafe=False)
        if name in exports.formats:
            assert found == exports.formats[name].signature


def served(runtime: Any, inputs: dict[str, torch.Tensor], outputs: list[str]) -> dict[str, torch.Tensor]:
    found = runtime.run({name: tensor.numpy() for name, tensor in inputs.items()}, outputs)
    return {name: torch.from_numpy(array) for name, array in found.items()}


def test_a_module_is_served_as_it_was_trained(tmp_path: Path) -> None:
    torch.manual_seed(1)
    module = Classifier()
    module(torch.randn(20, 1, 8, 8))  # in training mode, as it remains: statistics are no longer what they begin with
    rows = {"image": torch.randn(5, 1, 8, 8)}
    what = trained(module, rows, labels=b"a\nb\nc\n")
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()  # the best weights are exported, not those that the module has
    exports = export(what, tmp_path / "out")
    assert module.training
    check_artifacts(exports, ["onnx", "safetensors", "torch_export"])
    assert exports.artifact == tmp_path / "out" / "onnx"
    signature = exports.formats["onnx"].signature
    assert signature is not None
    assert signature.inputs == (TensorSpec("image", "FP32", (-1, 1, 8, 8)),)
    assert signature.outputs == (TensorSpec("logits", "FP32", (-1, 3)), TensorSpec("label", "INT64", (-1,)))
    assert signature == exports.formats["torch_export"].signature
    assert signature == read_signature("safetensors", tmp_path / "out" / "safetensors", allow_unsafe=False)
    check_runtimes(what, exports)
    document = json.loads((exports.artifact / "training.json").read_text())
    assert (document["seed"], document["position"]) == (3, {"step": 9, "epoch": 1, "offset": 2})
    assert document["metrics"] == {"loss": 0.5, "odd": None}
    assert document["releases"]["torch"] == torch.__version__
    assert document["exports"]["onnx"]["greatest_difference"] <= 1e-5


def check_runtimes(what: Trained, exports: Exports) -> None:
    """The worker's own runtimes return what the module does, for any number of rows."""
    module = Classifier().eval()
    module.load_state_dict(dict(what.best))
    for runtime in (
        OnnxRuntime(exports.directory / "onnx", 1),
        TorchExportRuntime(exports.directory / "torch_export", 1),
    ):
        assert runtime.labels == ("a", "b", "c")
        for count in (1, 3, 8):
            inputs = {"image": torch.randn(count, 1, 8, 8)}
            with torch.no_grad():
                wanted = module(**inputs)
            found = served(runtime, inputs, ["logits", "label"])
            torch.testing.assert_close(found["logits"], wanted["logits"], atol=1e-5, rtol=1e-4)
            assert torch.equal(found["label"], wanted["label"])
        runtime.close()
    for name, weights in (("best", what.best), ("last", what.last)):
        found = read_weights(exports.directory / "safetensors" / f"{name}.safetensors")
        assert equal(dict(sorted(found.items())), dict(sorted(weights.items())))


def test_several_inputs_and_one_output(tmp_path: Path) -> None:
    rows = {"tokens": torch.tensor([[1, 2, 3], [4, 5, 6]]), "numbers": torch.randn(2, 2)}
    exports = export(trained(Two(), rows), tmp_path / "out")
    check_artifacts(exports, ["onnx", "safetensors", "torch_export"])
    signature = exports.formats["onnx"].signature
    assert signature is not None
    assert [tensor.name for tensor in signature.inputs] == ["tokens", "numbers"]
    assert signature.outputs == (TensorSpec("output", "FP32", (-1, 1)),)


def test_what_cannot_be_exported_leaves_the_weights_and_the_reason(tmp_path: Path) -> None:
    exports = export(trained(Branching(), {"x": torch.ones(3, 2)}), tmp_path / "out")
    check_artifacts(exports, ["safetensors"])
    assert exports.served == "safetensors"
    for found in exports.formats.values():
        assert "data-dependent" in found.reason
    document = json.loads((exports.artifact / "training.json").read_text())
    assert document["exports"]["onnx"]["reason"] == exports.formats["onnx"].reason


def test_what_onnx_does_not_have_is_served_by_torch(tmp_path: Path) -> None:
    exports = export(trained(Unknown(), {"x": torch.ones(3, 2)}), tmp_path / "out")
    check_artifacts(exports, ["safetensors", "torch_export"])
    assert exports.served == "torch_export"
    assert "bessel" in exports.formats["onnx"].reason or "onnx" in exports.formats["onnx"].reason.lower()
    assert exports.formats["torch_export"].reason == ""


def test_an_export_that_computes_something_else_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = onnx_model.OnnxModel.__call__

    def wrong(self: Any, inputs: Any) -> Any:
        found = genuine(self, inputs)
        # Right for one row, and wrong for several.
        return {name: tensor + 0.01 * (len(tensor) > 1) for name, tensor in found.items()}

    monkeypatch.setattr(onnx_model.OnnxModel, "__call__", wrong)
    rows = {"tokens": torch.tensor([[1, 2, 3], [4, 5, 6]]), "numbers": torch.randn(2, 2)}
    exports = export(trained(Two(), rows), tmp_path / "out")
    check_artifacts(exports, ["safetensors", "torch_export"])
    assert "output: expected what the trained module returns" in exports.formats["onnx"].reason


def test_one_row_is_not_enough(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"two rows or more, as many each, got \[1\]"):
        export(trained(Branching(), {"x": torch.ones(1, 2)}), tmp_path / "out")
    assert not (tmp_path / "out").exists()
