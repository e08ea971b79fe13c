"""`python -m bench.train.rank JOB NAME CONTROL BATCH WARM STEPS`: a rank; it prints the seconds that its steps took."""

from __future__ import annotations

import sys
import time

import torch

from bench.train.model import SEED, Wide, pairs
from modelyard.train.control.messages import Hello
from modelyard.train.elastic.driver import Driver
from modelyard.train.elastic.host import Host
from modelyard.train.elastic.member import Member
from modelyard.train.events import Listener, StepCommitted
from modelyard.train.local import training
from modelyard.train.options import TrainingOptions
from tests.integration.train.elastic.rank import SECRET


class Clock(Listener):
    """When steps were committed."""

    def __init__(self) -> None:
        self.at_s: dict[int, float] = {}

    def committed(self, step: StepCommitted) -> None:
        """Note it."""
        self.at_s[step.position.step] = time.perf_counter()


def train(job: str, name: str, control: str, options: TrainingOptions, listener: Listener) -> None:
    """Be a rank of a job, a thread wide, to its end."""
    torch.set_num_threads(1)
    trained = training(Wide(), pairs(), None, options)
    member = Member(Hello(job, name, SECRET, "127.0.0.1", "agreed"), lambda: control)
    Driver(member, trained, Host(), listener).run()


def main(job: str, name: str, control: str, batch: int, warm: int, steps: int) -> None:
    """Train so many steps, of which the first are not timed."""
    clock = Clock()
    train(job, name, control, TrainingOptions(steps=warm + steps, batch_size=batch, seed=SEED, keep_best=False), clock)
    print(f"seconds {clock.at_s[warm + steps] - clock.at_s[warm]}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]), int(sys.argv[6]))
