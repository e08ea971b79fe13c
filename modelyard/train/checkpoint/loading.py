"""Loading a checkpoint, by as many ranks as there are now."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch.distributed import ProcessGroup
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load as load_tensors
from torch.distributed.tensor import DTensor

from modelyard.errors import DataLossError, InvalidInputError, NotFoundError
from modelyard.train.checkpoint import record as records
from modelyard.train.checkpoint.ranks import Ranks, expect_no_group
from modelyard.train.checkpoint.record import Record
from modelyard.train.checkpoint.store import CheckpointStore
from modelyard.train.checkpoint.structure import State, Tensors, put_together, take_apart

log = logging.getLogger(__name__)


def newest(store: CheckpointStore, group: ProcessGroup | None = None) -> str:
    """Return the name of the newest checkpoint that is whole, the same on all ranks; empty: there is none.

    Those that are damaged are passed over, with a line in the log.
    """
    return Ranks(group).from_first(lambda: next((name for name in store.names() if _is_whole(store, name)), ""))


def _is_whole(store: CheckpointStore, name: str) -> bool:
    try:
        store.open(name)
    except (DataLossError, NotFoundError) as error:
        log.error("checkpoint damaged", extra={"checkpoint": name, "reason": error.message})
        return False
    return True


def load(
    store: CheckpointStore, name: str, current: State | None = None, group: ProcessGroup | None = None
) -> tuple[Record, dict[str, Any]]:
    """Return a checkpoint's record and state; with a group, all its ranks do this together.

    Args:
        store: this rank's.
        name: of the checkpoint.
        current: the state of a run that goes on from it. Of what is a DTensor there, each rank reads its part; it is
            written into. All else comes whole, on the CPU. None: everything comes whole.
        group: None: by this process alone.

    Raises:
        NotFoundError: there is none of that name.
        DataLossError: it is damaged.
        InvalidInputError: a tensor has another shape or datatype than in `current`.
    """
    if group is None:
        expect_no_group()
    directory = store.open(name)
    record = records.read(directory)
    reader = FileSystemReader(directory)
    tensors = _destinations(reader, take_apart(current)[0] if current else {})
    if tensors:
        load_tensors(tensors, storage_reader=reader, process_group=group, no_dist=group is None)
    return record, put_together(record.structure, tensors)


def _destinations(reader: FileSystemReader, current: Mapping[str, torch.Tensor]) -> Tensors:
    # The metadata is a pickle: it has been compared with its digest, and is as much to be trusted as the run's code.
    found = reader.read_metadata().state_dict_metadata
    return {
        key: _destination(key, saved, current.get(key))
        for key, saved in found.items()
        if isinstance(saved, TensorStorageMetadata)
    }


def _destination(key: str, saved: TensorStorageMetadata, current: torch.Tensor | None) -> torch.Tensor:
    dtype = saved.properties.dtype
    if current is not None and (current.shape != saved.size or current.dtype != dtype):
        raise InvalidInputError(
            f"checkpoint: {key}: expected {current.dtype} {list(current.shape)}, got {dtype} {list(saved.size)}"
        )
    return current if isinstance(current, DTensor) else torch.empty(saved.size, dtype=dtype)
