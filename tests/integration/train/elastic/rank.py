"""A rank for tests: it writes down what it fetches and what it is told, and dies, stops or waits as it is told to."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.optim import Optimizer

from modelyard.errors import UnavailableError
from modelyard.train.control.messages import Hello, Saved
from modelyard.train.course import EpochRecord
from modelyard.train.elastic.driver import Driver
from modelyard.train.elastic.group import Group
from modelyard.train.elastic.host import Host
from modelyard.train.elastic.member import Member
from modelyard.train.elastic.orders import StoppedError
from modelyard.train.events import Listener, StepCommitted
from modelyard.train.local import training
from modelyard.train.loop import Ending
from modelyard.train.options import TrainingOptions
from modelyard.train.state import TrainingState
from tests.unit.train.recipes import Pair, Small, pairs

SAMPLES = 90
BATCH = 12
SECRET = "of the job"
CUT = -1


@dataclass(frozen=True)
class Plan:
    """What a rank is to do.

    Attributes:
        name: of the member.
        directory: where its log is, and what it waits for.
        epochs: how many.
        at: the step (that is, as many were applied) in which it does something of its own; -1: never, or as is written
            into the file "at-" with its name.
        where: "forward", "reduce", "sum", "optimizer", "heal", "save" or "conclude"; "away": it concludes in vain.
        signal: that it sends itself there; 0: none, it does nothing any more; CUT: none, its connections to the other
            ranks and to the store break.
        stall_s: how long it may do nothing.
        gates: it waits in these steps until there is a file of that name.
        control: the file that says where the control process is.
        shape: ranks that share a model: by shards, layers and stages; empty: each has all of it.
    """

    name: str
    directory: str
    epochs: int = 3
    at: int = -1
    where: str = "forward"
    signal: int = signal.SIGKILL
    stall_s: float = 600.0
    gates: tuple[int, ...] = ()
    shape: tuple[int, ...] = ()
    control: str = "control"


@dataclass
class Diary(Listener):
    """What happened to a rank, a JSON object a line, each of them written before anything else is done."""

    plan: Plan
    state: TrainingState | None = None
    formation: int = 0
    member: Member | None = None
    _file: int = field(init=False)
    _leaving: bool = False
    _is_cut: bool = False

    def __post_init__(self) -> None:
        path = Path(self.plan.directory) / f"{self.plan.name}.log"
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    @property
    def step(self) -> int:
        assert self.state is not None
        return self.state.position.step

    def note(self, **facts: Any) -> None:
        line = {"at": time.monotonic(), "formation": self.formation, **facts}
        os.write(self._file, json.dumps(line).encode() + b"\n")

    def reach(self, where: str) -> None:
        """Do what the plan says of this place."""
        at = self._at()
        due = self.step == at or (where in {"heal", "save"} and self.step > at >= 0)  # which it is then is not sure
        if due and where == self.plan.where:
            self.note(reached=where, step=self.step)
            while not self.plan.signal:
                time.sleep(1)
            if self.plan.signal != CUT:
                os.kill(os.getpid(), self.plan.signal)
            elif not self._is_cut:
                self._is_cut = True
                self._cut()

    def _cut(self) -> None:
        """Break every TCP connection but that to the control process."""
        control = Path(self.plan.directory, self.plan.control).read_text()
        for entry in os.listdir("/proc/self/fd"):
            try:
                opened = socket.socket(fileno=os.dup(int(entry)))
                with opened:
                    host, port = opened.getpeername()[:2]
                    if f"{host}:{port}" != control:
                        opened.shutdown(socket.SHUT_RDWR)
            except (OSError, ValueError):  # no socket, or one that is not connected, or not to a port
                continue

    def _at(self) -> int:
        told = Path(self.plan.directory) / f"at-{self.plan.name}"
        return int(told.read_text()) if self.plan.at < 0 and told.exists() else self.plan.at

    def wait_at_gate(self) -> None:
        gate = Path(self.plan.directory) / f"gate-{self.step}"
        while self.step in self.plan.gates and not gate.exists():
            if self.member is not None and self.member.leaving and not self._leaving:
                self._leaving = True
                self.note(leaving=self.step)
            time.sleep(0.005)

    def committed(self, step: StepCommitted) -> None:
        self.note(committed=step.position.step, samples=step.samples, loss=step.values["loss"])

    def ended(self, record: EpochRecord) -> None:
        self.note(ended=record.epoch)

    def save(self, state: TrainingState) -> None:
        self.note(saved=state.position.step)
        self.reach("save")


class Watched:
    """A dataset that writes down what is fetched."""

    def __init__(self, samples: Sequence[Pair], diary: Diary) -> None:
        self._samples = samples
        self._diary = diary

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int, /) -> Pair:
        return self._samples[index]

    def __getitems__(self, indices: Sequence[int]) -> list[Pair]:
        diary = self._diary
        diary.note(fetched=[int(index) for index in indices], step=diary.step)
        diary.wait_at_gate()
        diary.reach("forward")
        return [self._samples[index] for index in indices]


class Mortal(Small):
    """A recipe whose optimizer may be the last thing that a rank does."""

    _diary: Diary

    def optimizer(self, model: torch.nn.Module) -> Optimizer:
        made = super().optimizer(model)
        made.register_step_post_hook(type(self)._stepped)
        return made

    @classmethod
    def _stepped(cls, *_: Any) -> None:
        cls._diary.note(done=cls._diary.step + 1)
        cls._diary.reach("optimizer")


class Concluding(Host):
    """Makes a version of nothing."""

    def __init__(self, diary: Diary) -> None:
        self._diary = diary

    def conclude(self, ending: Ending) -> str:
        self._diary.reach("conclude")
        if self._diary.plan.where == "away" and self._diary.step == self._diary._at():
            raise UnavailableError("no registry answers")
        self._diary.note(concluded=ending.value)
        return f"of-{self._diary.plan.name}"


class WatchedDriver(Driver):
    """A driver that says in which formation it is."""

    diary: Diary

    def _heal(self, group: Group, checkpoint: Saved | None) -> None:
        self.diary.formation = group.number
        super()._heal(group, checkpoint)
        self.diary.note(formed=group.number, rank=group.rank, world=group.world, step=self.diary.step)


def options(plan: Plan) -> TrainingOptions:
    return TrainingOptions(epochs=plan.epochs, batch_size=BATCH, seed=3, accumulation=2, stall_s=plan.stall_s)


def main(plan: Plan) -> None:
    """Be a rank until there is nothing left to do."""
    torch.set_num_threads(1)
    diary = Diary(plan)
    Mortal._diary = WatchedDriver.diary = diary
    trained = training(Mortal(), Watched(pairs(SAMPLES), diary), pairs(10, seed=8), options(plan))
    diary.state = trained.state
    _watch_collectives(diary)
    control = Path(plan.directory) / plan.control
    hello = Hello("job", plan.name, SECRET, "127.0.0.1", "agreed")
    member = Member(hello, lambda: control.read_text() if control.exists() else "")
    diary.member = member
    driver = WatchedDriver(member, trained, Concluding(diary), diary)
    try:
        ending: Ending | str = driver.run()
    except StoppedError as stopped:
        ending = stopped.reason
    torch.save(trained.state.module.state_dict(), Path(plan.directory) / f"{plan.name}.pt")
    diary.note(ending=str(ending), step=diary.step, progress=trained.state.progress, version=driver._version)


def _watch_collectives(diary: Diary) -> None:
    """Reach places in the middle of a collective: it was begun here, and is not at its end."""
    all_reduce, broadcast = Group.all_reduce, dist.broadcast

    def summed(group: Group, tensor: torch.Tensor, result: Any) -> Any:
        future = all_reduce(group, tensor, result)
        diary.reach("reduce" if tensor.dtype == torch.float32 else "sum")
        return future

    def sent(tensor: torch.Tensor, *arguments: Any, **named: Any) -> Any:
        work = broadcast(tensor, *arguments, **named)
        diary.reach("heal")
        return work

    setattr(Group, "all_reduce", summed)  # noqa: B010
    setattr(dist, "broadcast", sent)  # noqa: B010
