"""Pickle, by its usual suffixes, and what to use instead: unpickling runs code of the file's author."""

from __future__ import annotations

from pathlib import PurePosixPath

SUFFIXES = frozenset({".bin", ".ckpt", ".joblib", ".pickle", ".pkl", ".pt", ".pth"})
"""Suffixes of files that usually are pickles. What a file is, only its content says."""

CONVERSION = (
    "convert it: torch.onnx.export(model, example_inputs, 'model.onnx', dynamo=True) writes ONNX; "
    "torch.export.save(torch.export.export(model, example_inputs), 'model.pt2') writes a torch.export archive; "
    "safetensors.torch.save_file(model.state_dict(), 'model.safetensors') writes weights, to be pushed in one "
    "directory with a recipe.json that declares the signature"
)
"""How to get from a pickle to each format that needs none."""


def looks_pickled(path: str) -> bool:
    """Whether a file's name is one that pickles have."""
    return PurePosixPath(path).suffix.lower() in SUFFIXES
