"""Archives of torch.export for tests: written by torch, then changed as no torch would."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

PROGRAM = "models/model.json"


def save(
    path: Path,
    forward: torch.nn.Module | Callable[..., Any],
    *args: Any,
    dynamic: Any = None,
    kwargs: dict[str, Any] | None = None,
    extra: dict[str, str] | None = None,
) -> Path:
    """Export a module, or a function as one, with these example inputs, and save it; return the path."""
    module = forward if isinstance(forward, torch.nn.Module) else _Function(forward)
    program = torch.export.export(module, args, kwargs, dynamic_shapes=dynamic)
    torch.export.save(program, path, extra_files=extra)
    return path


class _Function(torch.nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.forward = function


class Classifier(torch.nn.Module):
    """A linear layer with a softmax: x FP32 [rows, first] -> FP32 [rows, last]."""

    def __init__(self, layers: tuple[int, int] = (64, 10)) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.linear(x), 1)


def classifier(path: Path, layers: tuple[int, int] = (64, 10)) -> Path:
    """Save a Classifier: x FP32 [-1, first] -> output FP32 [-1, last]."""
    return save(path, Classifier(layers), torch.ones(2, layers[0]), dynamic={"x": {0: torch.export.Dim("batch")}})


def entries(path: Path) -> dict[str, bytes]:
    """The entries of an archive, without its root folder."""
    with zipfile.ZipFile(path) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def write(path: Path, content: Mapping[str, bytes], *, compression: int = zipfile.ZIP_STORED, root: str = "m/") -> None:
    """Write an archive with these entries."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in content.items():
            archive.writestr(root + name, data)


def change(path: Path, **content: bytes | None) -> None:
    """Change entries of an archive; None removes one. `__` in a name stands for `/`, so that keywords can name it."""
    changed = {name.replace("__", "/"): data for name, data in content.items()}
    kept = {name: data for name, data in entries(path).items() if name not in changed}
    write(path, kept | {name: data for name, data in changed.items() if data is not None})


def edit(path: Path, change_program: Callable[[dict[str, Any]], object]) -> None:
    """Change the program of an archive."""
    content = entries(path)
    program = json.loads(content[PROGRAM])
    change_program(program)
    write(path, content | {PROGRAM: json.dumps(program).encode()})


def torch_save(value: Any) -> bytes:
    """What torch.save writes."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def graph(program: dict[str, Any]) -> Any:
    """The graph of a program."""
    return program["graph_module"]["graph"]


def specs(program: dict[str, Any]) -> Any:
    """What its inputs and outputs are."""
    return program["graph_module"]["signature"]


def call(program: dict[str, Any]) -> Any:
    """How its inputs and outputs are nested."""
    return program["graph_module"]["module_call_graph"][0]["signature"]
