"""Tensors out of the files of torch.distributed.checkpoint: as its planner says, and of the files only what is wanted.

Its own readers wrap whatever a file raises, and need files that lie on a disk.
"""

from __future__ import annotations

import io
import pickle
from collections import defaultdict

import torch
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import LoadPlanner, ReadItem

from modelyard.datasets.source import Directory, Source
from modelyard.train.checkpoint.part import METADATA
from modelyard.train.checkpoint.structure import Tensors


def read_metadata(directory: Directory) -> Metadata:
    """Return where which part of which tensor stands. Raises the directory's errors."""
    source = directory.open(METADATA)
    # It has been compared with its digest, and is as much to be trusted as the run's code.
    found: Metadata = pickle.loads(source.read(0, source.size_bytes))  # noqa: S301
    return found


def read(directory: Directory, metadata: Metadata, tensors: Tensors) -> None:
    """Fill tensors, DTensors as far as they are here, with the parts that overlap; one of these is held at a time.

    Args:
        directory: with the files.
        metadata: of them.
        tensors: by their keys there, of the shapes and datatypes there.

    Raises:
        ModelyardError: the directory's.
    """
    planner = DefaultLoadPlanner(flatten_state_dict=False, flatten_sharded_tensors=False)
    planner.set_up_planner(dict(tensors), metadata, is_coordinator=True)
    plan = planner.finish_plan(planner.create_local_plan())
    places = metadata.storage_data or {}
    files: defaultdict[str, defaultdict[tuple[int, int], list[ReadItem]]] = defaultdict(lambda: defaultdict(list))
    for item in plan.items:
        place = places[item.storage_index]
        files[place.relative_path][place.offset, place.length].append(item)
    for path, parts in files.items():
        source = directory.open(path)
        for place, items in sorted(parts.items()):  # so that what follows is fetched ahead
            _fill(_part(source, *place), items, planner)


def _part(source: Source, offset: int, length: int) -> torch.Tensor:
    found: torch.Tensor = torch.load(io.BytesIO(source.read(offset, length)), map_location="cpu", weights_only=True)
    return found


def _fill(part: torch.Tensor, items: list[ReadItem], planner: LoadPlanner) -> None:
    for item in items:
        sides = zip(item.storage_offsets, item.lengths, strict=True)
        target = planner.resolve_tensor(item).detach()
        target.copy_(part[tuple(slice(begin, begin + length) for begin, length in sides)])
        planner.commit_tensor(item, target)
