"""What is exported, on its way into a process of its own: a file that only that process reads, and soon."""

from __future__ import annotations

from pathlib import Path

import cloudpickle
import torch

from modelyard.errors import InvalidInputError
from modelyard.train.export.trained import Trained


def write(path: Path, trained: Trained) -> None:
    """Write what is exported, its module by reference to its class, or whole where nobody could import that.

    Raises:
        OSError: the disk.
        Exception: what the user's module raises that cannot be pickled.
    """
    torch.save(trained, path, pickle_module=cloudpickle)


def read(path: Path) -> Trained:
    """Return what `write` wrote, on the CPU; the directory of the user's code is in sys.path by then.

    Raises:
        InvalidInputError: it is something else.
        Exception: what the user's code raises.
    """
    found = torch.load(path, map_location="cpu", weights_only=False)
    if not isinstance(found, Trained):
        raise InvalidInputError(f"export: expected what training has left, got {type(found).__name__}")
    return found
