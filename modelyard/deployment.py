"""What is to be served, where it was placed, and what became of it. Plain values, as etcd holds them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from modelyard.catalogue import Resources, Signature


@dataclass(frozen=True)
class Deployment:
    """Desired state: this version, in so many replicas, each on a worker of its own.

    `version_time_s` is when the version was published: of several deployed ones the newest answers calls that name
    none.
    """

    model: str
    version: str
    replicas: int
    resources: Resources
    manifest_digest: str
    format: str
    tenant: str = "default"
    create_time_s: float = 0.0
    version_time_s: float = 0.0


@dataclass(frozen=True)
class Placement:
    """The leader's decision that a worker shall run a replica.

    `epoch` is the create revision of the leader's key: a later leader has a greater one.
    """

    model: str
    version: str
    worker: str
    manifest_digest: str
    format: str
    resources: Resources
    epoch: int


class InstanceState(StrEnum):
    """The life of a loaded copy."""

    LOADING = "LOADING"
    READY = "READY"
    FAILED = "FAILED"
    UNLOADING = "UNLOADING"


@dataclass(frozen=True)
class Instance:
    """A worker's report on one placement; `endpoint` is the runner's address once READY."""

    model: str
    version: str
    worker: str
    state: InstanceState
    reason: str = ""
    endpoint: str = ""
    signature: Signature = field(default_factory=Signature)
    platform: str = ""


@dataclass(frozen=True)
class Device:
    """An accelerator: its name ("cuda:0"), kind and memory."""

    name: str
    kind: str
    memory_bytes: int


@dataclass(frozen=True)
class Worker:
    """A live worker: where its agent listens and what it can hold. `incarnation` differs at every start."""

    id: str
    address: str
    cpu: float
    memory_bytes: int
    incarnation: str
    devices: tuple[Device, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Member:
    """A live replica of a service that is not a worker."""

    id: str
    address: str
