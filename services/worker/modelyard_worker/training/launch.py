"""How the processes of a training job are started: what they are told by command line, environment and first order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from modelyard import codec
from modelyard.jobs.gang import Charter
from modelyard.train.control.messages import Stop
from modelyard_worker.training.orders import Begin, Order

SECRET = "MODELYARD_SECRET"  # noqa: S105 (the name of a variable)


@dataclass(frozen=True)
class Launch:
    """One start.

    Attributes:
        scratch: the directory that it is started in.
        environ: beside what all processes get.
        first: its first order; empty: none.
    """

    command: tuple[str, ...]
    scratch: str
    environ: Mapping[str, str] = field(default_factory=dict)
    first: bytes = b""


def rank(begin: Begin, command: Sequence[str]) -> Launch:
    """Of a rank, which is told all by orders."""
    return Launch(tuple(command), begin.scratch, first=codec.encode(Order(begin=begin)))


def control(begin: Begin, command: Sequence[str], etcd: str) -> Launch:
    """Of a control process (modelyard.train.control.config), whose orders are Stops."""
    charter = begin.charter
    options = {
        "id": begin.member,
        "job": charter.job,
        "min-workers": charter.spec.min_workers,
        "max-workers": charter.spec.max_workers,
        "epochs": charter.spec.epochs,
        "steps": charter.spec.steps,
        "host": begin.host,
        "etcd": etcd,
    }
    line = (*command, *(f"--{name}={value}" for name, value in options.items()))
    return Launch(line, begin.scratch, {SECRET: charter.secret})


def stop(charter: Charter) -> bytes:
    """What the control process is told of a job that is to end; empty: it goes on."""
    return codec.encode(Stop(charter.stop)) if charter.stop else b""
