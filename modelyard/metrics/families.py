"""Everything that is measured. docs/metrics.md has the same as a table, which a test compares with this and with what
running services export.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SHORT_S = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Of what happens in a runner."""
CALL_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Of a whole call."""
LONG_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
ROWS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)

SUM, LEAST = "livesum", "livemin"
"""What becomes of the gauges of several processes; those of dead ones do not count."""
VERSION = ("model", "version")
TENANT = ("tenant", *VERSION)


@dataclass(frozen=True, eq=False)
class Family:
    """One name and what it means.

    Attributes:
        name: as it is exported; a counter's ends with _total.
        kind: "counter", "gauge" or "histogram".
        services: which of "scheduler", "worker" and "registry" export it.
        bounds: of a histogram's buckets, ascending.
        mode: of a gauge, SUM or LEAST.
    """

    name: str
    kind: str
    services: tuple[str, ...]
    labels: tuple[str, ...]
    text: str
    bounds: Sequence[float] = ()
    mode: str = SUM

    @property
    def base(self) -> str:
        """The name without _total."""
        return self.name.removesuffix("_total")

    @property
    def sheet(self) -> str:
        """In which of a process's files it is kept."""
        return f"gauge_{self.mode}" if self.kind == "gauge" else self.kind


_DOOR = _CONTROLLER = ("scheduler",)
_RUNNER = _WORKER = ("worker",)
_REGISTRY = ("registry",)
_ALL = ("scheduler", "worker", "registry")


def _histogram(
    name: str,
    services: tuple[str, ...],
    text: str,
    bounds: Sequence[float] = SHORT_S,
    labels: tuple[str, ...] = VERSION,
) -> Family:
    return Family(f"modelyard_{name}", "histogram", services, labels, text, bounds)


def _counter(name: str, services: tuple[str, ...], text: str, labels: tuple[str, ...] = VERSION) -> Family:
    return Family(f"modelyard_{name}", "counter", services, labels, text)


def _gauge(name: str, services: tuple[str, ...], text: str, labels: tuple[str, ...] = (), mode: str = SUM) -> Family:
    return Family(f"modelyard_{name}", "gauge", services, labels, text, mode=mode)


REQUESTS = _counter("requests_total", _DOOR, "Calls that front doors have ended, by gRPC status", (*VERSION, "status"))
REQUEST = _histogram("request_seconds", _DOOR, "From a call's arrival at a front door to its answer", CALL_S)
OUTSTANDING = _gauge("outstanding_calls", _DOOR, "Calls sent to instances and not answered yet", VERSION)
REACHABLE = _gauge("reachable_instances", _DOOR, "Instances that every front door can send calls to", VERSION, LEAST)
FRONT_DOORS = _gauge("front_doors", _DOOR, "Front-door processes")

WANTED = _gauge("replicas_wanted", _CONTROLLER, "Replicas that the deployment asks for", VERSION)
READY = _gauge("replicas_ready", _CONTROLLER, "Replicas that are READY", VERSION)
WORKERS = _gauge("workers", _CONTROLLER, "Live workers")
EVICTIONS = _counter("evictions_total", _CONTROLLER, "On-demand deployments unloaded by this scheduler, as leader")
JOBS = _gauge("jobs", _CONTROLLER, "Jobs that have not ended, by their state, of the scheduler that leads", ("state",))
TASKS_QUEUED = _gauge("job_tasks_queued", _CONTROLLER, "Tasks of jobs that can be fetched", TENANT)
TASKS_DELAYED = _gauge("job_tasks_delayed", _CONTROLLER, "Tasks of jobs that failed and wait to be retried", TENANT)
TASKS_IN_FLIGHT = _gauge("job_tasks_in_flight", _CONTROLLER, "Tasks of jobs that workers have", TENANT)
TASKS_OLDEST = _gauge("job_tasks_oldest_seconds", _CONTROLLER, "Since when the oldest task to be fetched waits", TENANT)
TASKS_DEAD = _gauge("job_tasks_dead", _CONTROLLER, "Dead letters of jobs that are not forgotten yet", TENANT)
TASK_RETRIES = _counter("job_task_retries_total", _CONTROLLER, "Attempts at tasks of jobs that were made again", TENANT)
RECOVERED = _counter("job_recovered_claims_total", _CONTROLLER, "Claims taken back from lost workers", ("outcome",))
RECOVERY_AGE = _gauge("job_recovery_age_seconds", _CONTROLLER, "Since the leader looked for claims of lost workers")
REDIS = _gauge("redis_reachable", ("scheduler", "worker"), "1 if Redis answers")

QUEUED = _gauge("queue_depth", _RUNNER, "Calls that wait in runners' queues", VERSION)
QUEUE = _histogram("queue_seconds", _RUNNER, "A call's wait in the runner's queue")
INPUT = _histogram("compute_input_seconds", _RUNNER, "Making a batch of its calls' inputs")
INFER = _histogram("compute_infer_seconds", _RUNNER, "Executing a batch")
OUTPUT = _histogram("compute_output_seconds", _RUNNER, "Making responses of a batch's outputs")
BATCH = _histogram("batch_rows", _RUNNER, "Rows of a batch", ROWS)
FAILED_CALLS = _counter("execution_failures_total", _RUNNER, "Calls that failed in a runner")
INSTANCE_MEMORY = _gauge(
    "instance_memory_bytes", _RUNNER, "Resident memory of the runner, shared equally by its instances", VERSION
)
LOADS = _counter("loads_total", _WORKER, "Attempts to load an instance, by what became of them", (*VERSION, "outcome"))
LOAD = _histogram("load_seconds", _WORKER, "From the first attempt, pulling included, until READY", LONG_S)
UNLOADS = _counter("unloads_total", _WORKER, "Instances unloaded in good order")
RUNNER_FAILURES = _counter("runner_failures_total", _WORKER, "Instances lost because their runner ended or was killed")
RESERVED = _gauge("memory_reserved_bytes", _WORKER, "Memory promised to what is placed on this worker")
CAPACITY = _gauge("memory_capacity_bytes", _WORKER, "Memory of this worker that can be promised")
TASKS = _counter("job_tasks_total", _WORKER, "Attempts at tasks of jobs, by what became of them", (*TENANT, "outcome"))
JOB_ROWS = _counter("job_rows_total", _WORKER, "Rows of jobs that have got their results", TENANT)
JOB_COMPUTE = _counter("job_compute_seconds_total", _WORKER, "Seconds that runners spent on these rows", TENANT)
TASK_QUEUE = _histogram("job_queue_seconds", _WORKER, "A task's wait in the queue, until its fetch", LONG_S, TENANT)
TASK = _histogram("job_task_seconds", _WORKER, "From a task's fetch to the end of the attempt", LONG_S, TENANT)

RECEIVED = _counter("chunk_bytes_received_total", _REGISTRY, "Bytes of chunks uploaded", ())
SENT = _counter("chunk_bytes_sent_total", _REGISTRY, "Bytes of chunks and files downloaded", ())
VERSIONS = _gauge("versions", _REGISTRY, "Versions in the catalogue, those that can be undeleted among them")
MODELS = _gauge("models", _REGISTRY, "Models in the catalogue, those that can be undeleted among them")
COLLECTIONS = _counter("collections_total", _REGISTRY, "Collections of garbage, by what became of them", ("outcome",))
COLLECTED = _counter("collected_bytes_total", _REGISTRY, "Bytes of chunks that collections removed", ())
STORE = _gauge("store_reachable", _REGISTRY, "1 if the artifact store answers")

ETCD = _gauge("etcd_reachable", _ALL, "1 if etcd answers every process of the replica", mode=LEAST)
LEASE = _gauge("lease_held", _ALL, "1 while the lease lives as far as its holder can know", ("lease",))
RENEWALS = _counter("lease_renewal_failures_total", _ALL, "Renewals of the lease that failed", ("lease",))

FAMILIES: tuple[Family, ...] = tuple(found for found in list(globals().values()) if isinstance(found, Family))
"""All of them."""


def families_of(service: str) -> list[Family]:
    """Those that a service exports."""
    return [family for family in FAMILIES if service in family.services]
