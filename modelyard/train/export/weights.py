"""Weights as .safetensors files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save

from modelyard import codec
from modelyard.catalogue import Signature
from modelyard.chunks import RECIPE
from modelyard.train.checkpoint import durable


def write_weights(path: Path, weights: Mapping[str, torch.Tensor]) -> None:
    """Write a module's weights and buffers (its state_dict): the file is whole, or as it was. Raises OSError.

    Weights that several layers share are written for each.
    """
    tensors = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in weights.items()}
    durable.write(path, save(tensors, {"format": "pt"}))


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Return what `write_weights` wrote, on the CPU."""
    return load_file(path)


def write_signature(directory: Path, signature: Signature) -> None:
    """Write what a directory with .safetensors files needs to be an artifact: its recipe.json."""
    declared = {"signature": codec.to_json(signature)}
    durable.write(directory / RECIPE, json.dumps(declared, indent=1).encode())
