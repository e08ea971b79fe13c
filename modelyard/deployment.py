"""What is to be served, where it was placed, and what became of it. Plain values, as etcd holds them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from modelyard.catalogue import Resources, Signature

DEFAULT_QUEUE_SIZE = 1024


@dataclass(frozen=True)
class InstanceOptions:
    """How each instance of a deployment is run.

    Attributes:
        threads: for the operators of one copy; 0: as many as the worker has cores.
        device: "cpu" or "cuda"; empty: cuda where the version needs a GPU, else cpu.
        precision: "fp32", "fp16", "bf16" or "tf32"; empty: as the artifact is.
        copies: how many loaded copies one instance has, which share its queue (Triton's instance group).
        runner: instances of a worker that name the same runner share one process; empty: a process of its own.
        warm_up_batch_sizes: executed on zeros before the instance is READY.
        max_batch_size: rows of a batch at most; 0: calls are executed one by one, whatever their first dimension means.
        max_queue_delay_us: how long a call waits for others while the device is idle.
        preferred_batch_sizes: rows at which a batch does not wait for more.
        max_queue_size: how many calls may wait; more are refused with RESOURCE_EXHAUSTED.
    """

    threads: int = 0
    device: str = ""
    precision: str = ""
    copies: int = 1
    runner: str = ""
    warm_up_batch_sizes: tuple[int, ...] = ()
    max_batch_size: int = 0
    max_queue_delay_us: int = 0
    preferred_batch_sizes: tuple[int, ...] = ()
    max_queue_size: int = DEFAULT_QUEUE_SIZE


@dataclass(frozen=True)
class Selector:
    """Where replicas may go: to one of these workers, to workers with all these labels; empty: anywhere."""

    workers: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Deployment:
    """Desired state: this version, in so many replicas, each on a worker of its own.

    Attributes:
        version_time_s: when the version was published: of several deployed ones the newest that is READY answers calls
            that name none.
        on_demand: loaded at the first call (its Activity says so), and evicted for others when it is idle.
        idle_s: an on-demand one that was not called for so long is unloaded; 0: only when others need the room.
        replaces: versions of the model whose deployments end when all replicas of this one are READY.
        least: of an internal one: so many replicas are placed together, or none is: a gang.
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
    options: InstanceOptions = InstanceOptions()
    on: Selector = Selector()
    on_demand: bool = False
    idle_s: float = 0.0
    replaces: tuple[str, ...] = ()
    least: int = 1


@dataclass(frozen=True)
class Activity:
    """That an on-demand deployment is called: when it was last, to within some seconds. Front doors write it."""

    last_used_s: float


@dataclass(frozen=True)
class Eviction:
    """Why and when an on-demand deployment was unloaded last; it is gone when that one is called again."""

    reason: str
    time_s: float


@dataclass(frozen=True)
class Placement:
    """The leader's decision that a worker shall run a replica.

    Attributes:
        epoch: the create revision of the leader's key: a later leader has a greater one.
        internal: it is there for jobs, beside what users have deployed.
    """

    model: str
    version: str
    worker: str
    manifest_digest: str
    format: str
    resources: Resources
    epoch: int
    options: InstanceOptions = InstanceOptions()
    internal: bool = False


class InstanceState(StrEnum):
    """The life of a loaded copy."""

    LOADING = "LOADING"
    READY = "READY"
    FAILED = "FAILED"
    UNLOADING = "UNLOADING"


@dataclass(frozen=True)
class Instance:
    """A worker's report on one placement.

    Attributes:
        endpoint: host:port of the runner's gRPC server, once READY.
        execute_endpoint: host:port where the runner takes execute streams, once READY.
        options: with which it was loaded.
        memory_bytes: resident memory of the runner when it was loaded.
        failures: how often it has failed since it was placed.
    """

    model: str
    version: str
    worker: str
    state: InstanceState
    reason: str = ""
    endpoint: str = ""
    signature: Signature = field(default_factory=Signature)
    platform: str = ""
    options: InstanceOptions = InstanceOptions()
    memory_bytes: int = 0
    failures: int = 0
    execute_endpoint: str = ""


@dataclass(frozen=True)
class Device:
    """An accelerator: its name ("cuda:0"), kind and memory."""

    name: str
    kind: str
    memory_bytes: int


@dataclass(frozen=True)
class Worker:
    """A live worker: where its agent listens and what it can hold.

    Attributes:
        incarnation: differs at every start.
        draining: it is about to end: what is on it is loaded elsewhere first, nothing new comes.
    """

    id: str
    address: str
    cpu: float
    memory_bytes: int
    incarnation: str
    devices: tuple[Device, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    draining: bool = False


@dataclass(frozen=True)
class Region:
    """System shared memory that a client registered: `key` as shm_open takes it, the part from `offset` on."""

    name: str
    key: str
    offset: int
    size_bytes: int


@dataclass(frozen=True)
class Member:
    """A live replica of a service that is not a worker."""

    id: str
    address: str
