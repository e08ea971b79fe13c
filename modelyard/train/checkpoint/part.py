"""A rank's part of a checkpoint, in the format of torch.distributed.checkpoint, by its own planner and writer.

That does all of it in one call, too, whose collectives nobody can end when a rank is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import SavePlan
from torch.distributed.checkpoint.storage import WriteResult

from modelyard.train.checkpoint.structure import Tensors

METADATA = ".metadata"


@dataclass(frozen=True)
class Division:
    """Who writes what.

    Attributes:
        plans: of each rank. What several have is written by one of them, so that all write about as much.
        metadata: where which part of which tensor belongs.
    """

    plans: Sequence[SavePlan]
    metadata: Metadata


class Part:
    """What a rank has of a state, on its way into files."""

    def __init__(self, tensors: Tensors, directory: Path) -> None:
        """`directory`: it is there, and has no checkpoint."""
        self._planner = DefaultSavePlanner(flatten_state_dict=False, flatten_sharded_tensors=False)
        self._planner.set_up_planner(dict(tensors), is_coordinator=True)
        self._writer = FileSystemWriter(directory, overwrite=False)

    def plan(self) -> SavePlan:
        """Return what this rank could write."""
        return self._writer.prepare_local_plan(self._planner.create_local_plan())

    def divided(self, plans: Sequence[SavePlan]) -> Division:
        """Return who writes what, given what each rank could.

        Raises:
            ValueError: parts of a tensor overlap, or do not make up the whole (torch's).
        """
        said, metadata = self._planner.create_global_plan(list(plans))
        return Division(self._writer.prepare_global_plan(said), metadata)

    def write(self, plan: SavePlan) -> list[WriteResult]:
        """Write this rank's files, and have them on disk. Raises OSError."""
        found: list[WriteResult] = self._writer.write_data(self._planner.finish_plan(plan), self._planner).wait()
        return found

    def finish(self, metadata: Metadata, results: Sequence[list[WriteResult]]) -> None:
        """Write METADATA, which says where what all ranks have written stands. Raises OSError."""
        self._writer.finish(metadata, list(results))


def files_of(results: Sequence[WriteResult]) -> list[str]:
    """Return the names of the files that were written, sorted."""
    return sorted({result.storage_data.relative_path for result in results})
