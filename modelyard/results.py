"""What the SDK returns beside the catalogue's nouns: deployments, workers, answers of models. Plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from modelyard.catalogue import Resources, Signature
from modelyard.deployment import Device, InstanceOptions, InstanceState, Selector

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class InstanceStatus:
    """A loaded copy on one worker, and why it is FAILED if it is.

    Attributes:
        memory_bytes: resident memory of its runner when it was loaded; 0: not known.
        failures: how often it has failed since it was placed.
    """

    worker: str
    state: InstanceState
    reason: str = ""
    endpoint: str = ""
    memory_bytes: int = 0
    failures: int = 0


@dataclass(frozen=True)
class DeploymentStatus:
    """A deployed version: how many replicas are wanted, how many answer, and where each is.

    Attributes:
        ready_replicas: those that answer with the deployment's options, on workers where they may be; what is still as
            it was before does not count.
        on: where replicas may go.
        on_demand: loaded at the first call, evicted for others when it is idle.
        idle_s: an on-demand one that was not called for so long is unloaded; 0: only when others need the room.
        replaces: versions of the model whose deployments end when all replicas of this one are READY.
    """

    model: str
    version: str
    replicas: int
    ready_replicas: int
    resources: Resources = field(default_factory=Resources)
    instances: tuple[InstanceStatus, ...] = ()
    tenant: str = "default"
    create_time_s: float = 0.0
    options: InstanceOptions = field(default_factory=InstanceOptions)
    on: Selector = field(default_factory=Selector)
    on_demand: bool = False
    idle_s: float = 0.0
    replaces: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether as many replicas answer as are wanted."""
        return self.ready_replicas >= self.replicas


@dataclass(frozen=True)
class WorkerStatus:
    """A live worker: what it can hold, and what was placed on it as `model@version`."""

    id: str
    address: str
    cpu: float
    memory_bytes: int
    reserved_bytes: int = 0
    devices: tuple[Device, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    placements: tuple[str, ...] = ()
    draining: bool = False
    """It is about to end: what is on it is loaded elsewhere first."""


@dataclass(frozen=True)
class Endpoints:
    """Where the services listen, as host:port."""

    registries: tuple[str, ...] = ()
    schedulers: tuple[str, ...] = ()


@dataclass(frozen=True)
class LogPart:
    """Some of what the runner of a version printed on a worker."""

    worker: str
    version: str
    data: bytes


@dataclass(frozen=True)
class ServerMetadata:
    """What a server says of itself: its name, its release and the protocol's extensions that it has."""

    name: str
    version: str
    extensions: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelMetadata:
    """What a deployed model says of itself."""

    name: str
    versions: tuple[str, ...]
    platform: str
    signature: Signature


@dataclass(frozen=True)
class InferResult:
    """A model's answer: its outputs by name, the version that gave it, and the worker that it ran on."""

    outputs: dict[str, Array]
    model: str
    version: str
    worker: str = ""


@dataclass(frozen=True)
class Progress:
    """How far a push or a pull is.

    `stage` is "read" while files are hashed, then "send" or "receive". `done_bytes` of `total_bytes` are through, of
    this stage; `present_bytes` needed no transfer because they were already there.
    """

    stage: str
    done_bytes: int
    total_bytes: int
    present_bytes: int = 0
