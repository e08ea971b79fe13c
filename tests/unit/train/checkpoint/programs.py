"""What processes of the tests do: ranks that save and load together, and a run that is killed."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

from modelyard.train.checkpoint.directory import DirectoryCheckpoints
from modelyard.train.checkpoint.loading import load, newest
from modelyard.train.checkpoint.ranks import Ranks
from modelyard.train.checkpoint.saver import Checkpoints
from modelyard.train.position import Position

ROWS = 7
OPERATIONS = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree"}


def state_at(step: int, elements: int = 20_000) -> dict[str, Any]:
    """A state that follows from the step: some tensors, and what is none."""
    weights = {f"w{index}": torch.arange(elements, dtype=torch.float32) * step + index for index in range(3)}
    return {"weights": weights, "step": step, "lr": 0.1 / (step + 1)}


def equal(found: Any, wanted: Any) -> bool:
    """Whether two states are the same, bit by bit."""
    if isinstance(wanted, dict):
        return list(found) == list(wanted) and all(equal(found[key], wanted[key]) for key in wanted)
    if isinstance(wanted, torch.Tensor):
        return found.dtype == wanted.dtype and torch.equal(found, wanted)
    return type(found) is type(wanted) and bool(found == wanted)


def run_to_be_killed(root: Path, told: Connection, operation: int, steps: int) -> None:
    """Go on from the newest checkpoint for some steps; SIGKILL itself at so many-th file operation (0: never)."""
    torch.set_num_threads(1)
    store = DirectoryCheckpoints(root)
    begun = -1
    if name := newest(store):
        record, state = load(store, name)
        begun = record.position.step
        assert equal(state, state_at(begun))
    if operation:
        _kill_at(operation)
    checkpoints = Checkpoints(store, keep_last=2, on_saved=lambda position, _: told.send(position.step))
    for step in range(begun + 1, begun + 1 + steps):
        checkpoints.save(state_at(step), Position(step, 0, step))
    checkpoints.close()


def _kill_at(operation: int) -> None:
    left = operation

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event in OPERATIONS:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(audit)


def rank(work: Callable[[Path, Connection], None], root: Path, told: Connection, place: tuple[int, int]) -> None:
    """One of a group; `place`: its rank, and how many there are."""
    torch.set_num_threads(1)
    number, world = place
    meeting = f"file://{root}/meeting-{work.__name__}-{world}"
    dist.init_process_group("gloo", init_method=meeting, rank=number, world_size=world)
    work(root / "checkpoints", told)
    dist.destroy_process_group()


class Everybody:
    """The default group, as Peers."""

    lost = False

    def __init__(self) -> None:
        self.rank, self.world = dist.get_rank(), dist.get_world_size()

    def all_gather(self, values: torch.Tensor) -> list[torch.Tensor]:
        gathered = [torch.empty_like(values) for _ in range(self.world)]
        dist.all_gather(gathered, values)
        return gathered

    def broadcast(self, tensor: torch.Tensor, source: int) -> None:
        dist.broadcast(tensor, source)

    def lose(self, reason: str) -> None:
        raise AssertionError(reason)


def sharded(scale: float) -> DTensor:
    """FP32 [7, 3], of which each rank has some rows."""
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    return distribute_tensor(torch.arange(ROWS * 3, dtype=torch.float32).reshape(ROWS, 3) * scale, mesh, [Shard(0)])


def save_sharded(root: Path, told: Connection) -> None:
    """Save a sharded and a replicated tensor, thrice; tell the names."""
    checkpoints = Checkpoints(DirectoryCheckpoints(root), ranks=Ranks(Everybody()), keep_last=2)
    names = []
    for step in (1, 2, 3):
        state = {"sharded": sharded(step), "replicated": torch.full((50_000,), step), "step": step}
        names.append(checkpoints.save(state, Position(step)).result())
    checkpoints.close()
    told.send(names)


def load_sharded(root: Path, told: Connection) -> None:
    """Load the newest into tensors of this group; tell what this rank has, its rows first."""
    store = DirectoryCheckpoints(root)
    record, state = load(
        store, newest(store), lambda key, like: sharded(0) if key == "sharded" else torch.empty_like(like, device="cpu")
    )
    found = state["sharded"]
    assert isinstance(found, DTensor)
    told.send((found.to_local().tolist(), state["replicated"][0].item(), record.world, state["step"]))


def fail_on_one(root: Path, told: Connection) -> None:
    """Rank 1's store fails once, when it is to keep its files; tell how the first save and the next ended here."""
    checkpoints = Checkpoints(_Failing(root, dist.get_rank() == 1), ranks=Ranks(Everybody()))
    error = checkpoints.save({"step": 1, "w": torch.ones(4)}, Position(1)).exception()
    name = checkpoints.save({"step": 2, "w": torch.ones(4)}, Position(2)).result()
    checkpoints.close()
    told.send((str(error), name))


class _Failing(DirectoryCheckpoints):
    def __init__(self, root: Path, failing: bool) -> None:
        super().__init__(root)
        self._failing = failing

    def keep(self, draft: str, paths: Any) -> Any:
        if self._failing:
            self._failing = False
            raise OSError("no space left")
        return super().keep(draft, paths)


def run_watched(root: Path, told: Connection) -> None:
    """Save three times; before each operation on a file copy all that there is, which is what a kill would leave.

    Tells, in the order of the copies, which steps had been said to be saved.
    """
    torch.set_num_threads(1)
    store = DirectoryCheckpoints(root / "checkpoints")
    said = [-1]
    steps: list[int] = []
    copying = threading.Lock()

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        path = str(arguments[0]) if event in OPERATIONS else "/"
        # What rmtree removes is named relative to its directory.
        ours = path.startswith(str(root / "checkpoints")) or not path.startswith("/")
        if ours and copying.acquire(blocking=False):
            try:
                shutil.copytree(root / "checkpoints", root / f"copy-{len(steps)}")
                steps.append(said[-1])
            finally:
                copying.release()

    sys.addaudithook(audit)
    checkpoints = Checkpoints(store, keep_last=1, on_saved=lambda position, _: said.append(position.step))
    for step in range(3):
        checkpoints.save(state_at(step), Position(step, 0, step)).result()
    checkpoints.close()
    told.send(steps)
