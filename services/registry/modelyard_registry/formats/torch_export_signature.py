"""What a torch.export artifact says of itself: is it whole and free of code, and what does it take and return."""

from __future__ import annotations

from pathlib import Path

from modelyard import torch_export
from modelyard.catalogue import Signature
from modelyard_registry.formats.known import only_file
from modelyard_registry.formats.signatures import check_signature


def read_signature(directory: Path, *, allow_unsafe: bool = False) -> Signature:
    """Check the torch.export archive in a directory and return its signature.

    Args:
        directory: the artifact; its one .pt2 file is read.
        allow_unsafe: accept pickles, compiled code and operators and classes that need custom code.

    Raises:
        InvalidInputError: not exactly one .pt2 file, one that modelyard.torch_export refuses, or an input or output
            that the Open Inference Protocol cannot carry.
    """
    path = only_file("torch_export", ".pt2", directory)
    return check_signature(path.name, torch_export.read_signature(path, allow_unsafe=allow_unsafe))
