"""The trained module as a program of torch.export (.pt2), which the torch_export runtime serves."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from modelyard import torch_export
from modelyard.catalogue import Signature
from modelyard.train.export.values import Inputs, Outputs, name_outputs

FILE = "model.pt2"


def traced(module: nn.Module, inputs: Inputs) -> ExportedProgram:
    """Return the program of a module in eval mode, with one dynamic dimension: the rows.

    Args:
        module: on the CPU.
        inputs: two rows or more.

    Raises:
        Exception: what torch.export raises of what it cannot trace, and what the module raises.
    """
    rows = Dim("batch")
    dynamic = {name: {0: rows} for name in inputs}
    with torch.no_grad():
        return torch.export.export(module, tuple(inputs.values()), dynamic_shapes=dynamic)


class Program:
    """A .pt2 file as it is read again."""

    def __init__(self, path: Path) -> None:
        """Raises InvalidInputError, if a registry would refuse the file, and what torch raises that cannot load it."""
        self.signature: Signature = torch_export.read_signature(path)
        self._module = torch.export.load(path).module()

    def __call__(self, inputs: Inputs) -> Outputs:
        """Return the outputs by name."""
        with torch.no_grad():
            return name_outputs(self._module(*inputs.values()))


def write(program: ExportedProgram, directory: Path) -> Program:
    """Write a program's file; return what was written. Raises as Program."""
    path = directory / FILE
    torch.export.save(program, path)
    return Program(path)
