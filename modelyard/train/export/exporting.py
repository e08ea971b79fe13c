"""From a trained module to artifacts: a directory for each format, as the registry takes it.

    safetensors/   best.safetensors, last.safetensors, recipe.json
    onnx/          model.onnx
    torch_export/  model.pt2

In each are also training.json and the files that travel along: labels, a tokenizer.
"""

from __future__ import annotations

import copy
import logging
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from torch import nn
from torch.export import ExportedProgram

from modelyard.catalogue import Signature, TensorSpec
from modelyard.chunks import target_path
from modelyard.errors import InvalidInputError
from modelyard.oip.datatypes import DATATYPES
from modelyard.train.checkpoint import durable
from modelyard.train.export import onnx_model, program, record
from modelyard.train.export.trained import Trained
from modelyard.train.export.values import DEFAULT_TOLERANCE, Inputs, Outputs, Tolerance, first_rows, name_outputs
from modelyard.train.export.weights import write_signature, write_weights

log = logging.getLogger(__name__)
SERVED = ("onnx", "torch_export")
"""The formats that can be served, the one to prefer first."""


@dataclass(frozen=True)
class Export:
    """What became of a format: `reason` says why it failed; empty: it is there.

    Attributes:
        signature: as found in what was written.
        greatest_difference: of an element from the trained module's, on the held-out rows.
        tolerance: that it was compared with.
    """

    reason: str = ""
    signature: Signature | None = None
    greatest_difference: float = 0.0
    tolerance: Tolerance = DEFAULT_TOLERANCE


@dataclass(frozen=True)
class Exports:
    """What is in the directory, by format. Weights are always there."""

    directory: Path
    formats: dict[str, Export] = field(default_factory=dict)

    @property
    def served(self) -> str:
        """The format to publish: one that can be served, else `safetensors`."""
        return next((name for name in SERVED if not self.formats[name].reason), "safetensors")

    @property
    def artifact(self) -> Path:
        """Where that is."""
        return self.directory / self.served


class _Written(Protocol):
    @property
    def signature(self) -> Signature: ...

    def __call__(self, inputs: Inputs) -> Outputs: ...


def export(trained: Trained, directory: Path, tolerance: Tolerance = DEFAULT_TOLERANCE) -> Exports:
    """Write the weights and every format that can be; an export that fails leaves its reason.

    Args:
        trained: what is exported, on any device: it is done on the CPU, in eval mode, with the best weights.
        directory: is created; may not exist before.
        tolerance: within which an export's outputs must be the module's, for the first of the rows and for all of them.

    Raises:
        InvalidInputError: the weights are not the module's, there are fewer than two rows, or the module fails on them.
        OSError: the disk.
    """
    _check_rows(trained.rows)
    module = copy.deepcopy(trained.module).cpu().eval()
    module.load_state_dict(dict(trained.best))
    rows = {name: tensor.cpu() for name, tensor in trained.rows.items()}
    wanted = _evaluated(module, rows)
    directory.mkdir(parents=True)
    _write_weights(trained, directory / "safetensors", _signature(rows, wanted[-1]))
    formats = _Formats(directory, rows, wanted, tolerance).written(module)
    for name in ("safetensors", *(name for name in SERVED if not formats[name].reason)):
        _accompany(directory / name, trained, formats)
    return Exports(directory, formats)


def _check_rows(rows: Inputs) -> None:
    counts = {len(tensor) for tensor in rows.values()}
    if len(counts) != 1 or min(counts) < 2:
        raise InvalidInputError(f"export: expected inputs of two rows or more, as many each, got {sorted(counts)}")


def _evaluated(module: nn.Module, rows: Inputs) -> list[Outputs]:
    """The outputs for the first row, and for all rows."""
    with torch.no_grad():
        return [name_outputs(module(*inputs.values())) for inputs in (first_rows(rows, 1), rows)]


def _signature(inputs: Inputs, outputs: Outputs) -> Signature:
    return Signature(tuple(_spec(*item) for item in inputs.items()), tuple(_spec(*item) for item in outputs.items()))


def _spec(name: str, tensor: torch.Tensor) -> TensorSpec:
    datatype = _datatype(tensor.dtype)
    return TensorSpec(name, datatype, (-1, *tensor.shape[1:]) if tensor.dim() else ())


def _datatype(dtype: torch.dtype) -> str:
    name = str(dtype).removeprefix("torch.").replace("bfloat", "BF").replace("float", "FP").upper()
    if name not in DATATYPES:
        raise InvalidInputError(f"export: expected tensors of a datatype that is served, got {dtype}")
    return name


def _write_weights(trained: Trained, directory: Path, signature: Signature) -> None:
    directory.mkdir()
    write_weights(directory / "best.safetensors", trained.best)
    write_weights(directory / "last.safetensors", trained.last)
    write_signature(directory, signature)


def _accompany(directory: Path, trained: Trained, formats: dict[str, Export]) -> None:
    record.write(directory, trained.record, formats)
    for path, content in trained.companions.items():
        target = target_path(directory, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        durable.write(target, content)


class _Formats:
    """Writes what can be served, each format in a directory of its own, which is there only if all went well."""

    def __init__(self, directory: Path, rows: Inputs, wanted: list[Outputs], tolerance: Tolerance) -> None:
        self._directory = directory
        self._rows = rows
        self._wanted = wanted
        self._tolerance = tolerance

    def written(self, module: nn.Module) -> dict[str, Export]:
        """Trace the module once, write each format."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of torch about torch
                traced = program.traced(module, self._rows)
        except Exception as error:
            return {name: self._failed(name, error) for name in SERVED}
        names = list(self._wanted[-1])
        return {
            "onnx": self._one("onnx", traced, lambda found, at: onnx_model.write(found, at, names)),
            "torch_export": self._one("torch_export", traced, program.write),
        }

    def _one(self, name: str, traced: ExportedProgram, write: Callable[[ExportedProgram, Path], _Written]) -> Export:
        directory = self._directory / name
        directory.mkdir()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                written = write(traced, directory)
            return self._compared(written)
        except Exception as error:
            shutil.rmtree(directory)
            return self._failed(name, error)

    def _compared(self, written: _Written) -> Export:
        inputs = (first_rows(self._rows, 1), self._rows)
        apart = [
            self._tolerance.check(written(rows), wanted) for rows, wanted in zip(inputs, self._wanted, strict=True)
        ]
        return Export("", written.signature, max(apart), self._tolerance)

    def _failed(self, name: str, error: Exception) -> Export:
        line = next((line for line in str(error).strip().splitlines() if line.strip()), "")
        reason = f"{type(error).__name__}: {line.strip()[:500]}"
        log.error("export failed", extra={"format": name, "reason": reason})
        return Export(reason)
