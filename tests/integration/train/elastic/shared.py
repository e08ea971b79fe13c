"""A rank of tests whose model is shared with others: it saves into a directory, and waits or restarts as it is told."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from modelyard.errors import ModelyardError
from modelyard.jobs.training import Parallelism
from modelyard.train.checkpoint.directory import DirectoryCheckpoints
from modelyard.train.checkpoint.ranks import Ranks
from modelyard.train.checkpoint.resumption import restore
from modelyard.train.checkpoint.saver import Checkpoints
from modelyard.train.control.messages import Envelope, Hello, Saved
from modelyard.train.elastic.host import Host
from modelyard.train.elastic.member import Member
from modelyard.train.elastic.orders import RestartError, StoppedError
from modelyard.train.loop import Ending
from modelyard.train.options import TrainingOptions
from modelyard.train.parallel import driver
from modelyard.train.parallel.driver import ReplicaDriver
from modelyard.train.position import Position
from modelyard.train.state import TrainingState
from modelyard.train.step import Training
from tests.integration.train.elastic.rank import SECRET, Diary, Plan
from tests.unit.train.parallel.cases import Net, Points

HELD_OUT = 7


class Gated:
    """Points that wait at a gate."""

    def __init__(self, diary: Diary) -> None:
        self._points = Points()
        self._diary = diary

    def __len__(self) -> int:
        return len(self._points)

    def __getitem__(self, index: int) -> Any:
        return self._points[index]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        if self._diary.state is not None:
            self._diary.note(step=self._diary.step)
            self._diary.wait_at_gate()
        return [self._points[index] for index in indices]


class Hanging(Net):
    """A recipe that waits at a gate for its model."""

    _diary: Diary

    def model(self) -> torch.nn.Module:
        gate = Path(self._diary.plan.directory) / "gate-model"
        while self._diary.plan.where == "model" and not gate.exists():
            time.sleep(0.05)
        return super().model()


class Kept(Diary):
    """Saves states, of each rank its part, into a directory."""

    ranks = Ranks()
    _checkpoints: Checkpoints | None = None

    @property
    def store(self) -> DirectoryCheckpoints:
        return DirectoryCheckpoints(Path(self.plan.directory) / "checkpoints")

    def save(self, state: TrainingState) -> None:
        self._checkpoints = self._checkpoints or Checkpoints(self.store, ranks=self.ranks, on_saved=self._saved)
        self._checkpoints.save(state.state_dict(), state.position)

    def _saved(self, position: Position, name: str) -> None:
        assert self.member is not None
        self.member.send(Envelope(saved=Saved(position, name)))
        self.note(saved=position.step)

    def settle(self) -> None:
        if self._checkpoints is not None:
            self._checkpoints.settle()


class Directed(Host):
    """Answers from that directory."""

    def __init__(self, training: Training, diary: Kept) -> None:
        self._state = diary.state = training.state
        self._diary = diary

    def enter(self, rank: int, checkpoint: Saved | None) -> None:
        self._diary.note(entered=rank, from_step=checkpoint.position.step if checkpoint else 0)

    def share(self, ranks: Ranks) -> None:
        self._diary.ranks = ranks

    def restore(self, saved: Saved) -> None:
        restore(self._diary.store, self._state, saved.name)

    def complete(self) -> None:
        self._diary.settle()

    def conclude(self, ending: Ending) -> str:
        torch.save(self._state.module.state_dict(), Path(self._diary.plan.directory) / "result.pt")
        return f"of-{self._diary.plan.name}"

    def settle(self) -> None:
        self._diary.settle()


def options(plan: Plan) -> TrainingOptions:
    return TrainingOptions(epochs=plan.epochs, batch_size=8, seed=3, checkpoint_steps=1, stall_s=plan.stall_s)


def main(plan: Plan) -> None:
    """Be a rank in one formation."""
    torch.set_num_threads(1)
    diary = Hanging._diary = Kept(plan)
    control = Path(plan.directory) / "control"
    hello = Hello("job", plan.name, SECRET, "127.0.0.1", "agreed")
    member = diary.member = Member(hello, lambda: control.read_text() if control.exists() else "")
    told = driver.Plan(
        Hanging(), Gated(diary), Points(HELD_OUT), options(plan), Parallelism(0, *plan.shape), "cpu", "lo"
    )
    try:
        ending = ReplicaDriver(member, told, lambda training: Directed(training, diary), diary).run()
    except RestartError as restart:
        diary.note(restart=restart.message)
    except StoppedError as stopped:
        diary.note(ending=stopped.reason)
    except ModelyardError as error:
        diary.note(ending="failed", reason=error.message)
    else:
        diary.note(ending=str(ending), step=diary.step)
    os._exit(0)
