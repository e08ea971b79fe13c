"""What the controller and a planning process say to each other: one JSON object a line, by modelyard.codec.

The process says `state="ready"` when it can take a job. What reads the job's dataset is a fork of it, which says
`state="begun"`, then `state="beat"` while it gets on, and in the end `planned`, `failed` or `broken`. When the fork has
ended, in whatever way, the process says `state="ended"` with its exit status, and can take the next job.
"""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.catalogue import Signature
from modelyard.jobs.found import Found
from modelyard.jobs.planning import Plan
from modelyard.jobs.spec import BatchInference


@dataclass(frozen=True)
class Limits:
    """What a planning process may take.

    Attributes:
        memory_bytes: of its own, what it has when it begins included (RLIMIT_DATA: libraries and files do not count).
        cpu_s: of computing.
        silence_s: without getting on: no byte or row was read.
        patience_s: of waiting for a registry that is away.
    """

    memory_bytes: int = 2 << 30
    cpu_s: int = 2 * 3600
    silence_s: float = 180.0
    patience_s: float = 30.0


@dataclass(frozen=True)
class Wanted:
    """To the process: plan this.

    Attributes:
        job: its id.
        tenant: whose it is.
        registries: the replicas that are live, host:port.
        allowed: prefixes of URLs that may be read.
    """

    job: str
    tenant: str
    inference: BatchInference
    signature: Signature
    registries: tuple[str, ...]
    allowed: tuple[str, ...]
    limits: Limits


@dataclass(frozen=True)
class Planned:
    """The dataset is as it should be."""

    found: Found
    plan: Plan


@dataclass(frozen=True)
class Failed:
    """It is not, or it could not be read; `error`: the name of one in modelyard.errors."""

    error: str
    message: str


@dataclass(frozen=True)
class Broken:
    """Reading it raised what nobody foresaw.

    Attributes:
        error: the exception's type; its message could hold users' data.
        places: file and line of each frame.
    """

    error: str
    places: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """A line: a state, or what was found; `status`: exit status of a fork, negative for a signal."""

    state: str = ""
    status: int = 0
    planned: Planned | None = None
    failed: Failed | None = None
    broken: Broken | None = None
