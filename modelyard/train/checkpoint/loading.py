"""Loading a checkpoint: all of it, or what a rank has of it, however many have saved it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch.distributed.checkpoint.metadata import TensorStorageMetadata

from modelyard.errors import DataLossError, NotFoundError
from modelyard.train.checkpoint import record as records
from modelyard.train.checkpoint.reading import read, read_metadata
from modelyard.train.checkpoint.record import Record
from modelyard.train.checkpoint.store import CheckpointStore
from modelyard.train.checkpoint.structure import put_together

log = logging.getLogger(__name__)
PIECE_BYTES = 1 << 20

Destination = Callable[[str, torch.Tensor], torch.Tensor | None]
"""Returns where a tensor is read to, by its key (train.checkpoint.structure) and one on "meta" that is like it, whole.
Of a DTensor the part is read that is here. None: it is not wanted."""


def whole(_: str, like: torch.Tensor) -> torch.Tensor:
    """All of a tensor, on the CPU."""
    return torch.empty_like(like, device="cpu")


def newest(store: CheckpointStore) -> str:
    """Return the name of the newest checkpoint that is whole, all of which is read; empty: there is none.

    Those that are damaged are passed over, with a line in the log.
    """
    return next((name for name in store.names() if _is_whole(store, name)), "")


def _is_whole(store: CheckpointStore, name: str) -> bool:
    try:
        directory = store.open(name)
        for source in map(directory.open, directory.paths()):
            for begin in range(0, source.size_bytes, PIECE_BYTES):
                source.read(begin, min(PIECE_BYTES, source.size_bytes - begin))
    except (DataLossError, NotFoundError) as error:
        log.error("checkpoint damaged", extra={"checkpoint": name, "reason": error.message})
        return False
    return True


def load(store: CheckpointStore, name: str, destination: Destination = whole) -> tuple[Record, dict[str, Any]]:
    """Return a checkpoint's record and state. Each rank does so by itself.

    Args:
        store: this rank's.
        name: of the checkpoint.
        destination: where tensors go to; what is there is written into, also if this raises.

    Raises:
        NotFoundError: there is none of that name.
        DataLossError: it is damaged.
        InvalidInputError: it is of something else, as `destination` says.
        ModelyardError: the store cannot be read.
    """
    directory = store.open(name)
    record, metadata = records.read(directory), read_metadata(directory)
    tensors = {
        key: destination(key, torch.empty(saved.size, dtype=saved.properties.dtype, device="meta"))
        for key, saved in metadata.state_dict_metadata.items()
        if isinstance(saved, TensorStorageMetadata)
    }
    read(directory, metadata, {key: tensor for key, tensor in tensors.items() if tensor is not None})
    return record, put_together(record.structure, tensors)
