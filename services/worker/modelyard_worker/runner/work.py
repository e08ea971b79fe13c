"""A call, from its arrival at the runner to its outcome."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from modelyard_worker.runner.evaluation import Outcome
from modelyard_worker.runner.layouts import Buffer
from modelyard_worker.runner.requests import Request


@dataclass(eq=False, slots=True)
class Work:
    """A call.

    Attributes:
        request: a serialized ModelInferRequest.
        expires_s: when it is too late to begin (time.monotonic); None: never.
        done: gets the outcome, in the event loop.
        alone: whether it has to be a batch of its own.
        background: whether it is a job's, which all others go before.
        arrived_s: when it was submitted.
        read: the request, once it was read.
    """

    request: Buffer
    expires_s: float | None
    done: Callable[[Outcome], None]
    alone: bool = False
    background: bool = False
    arrived_s: float = field(default=0.0, init=False)
    read: Request | None = field(default=None, init=False)
