"""What an instance needs, what is reserved on each worker, and why a worker cannot hold one more. Pure.

Memory is reserved in bytes. GPUs are reserved whole by versions that state how many they need. A version that states
none and is run with the option device=cuda shares: all such instances of a worker have one GPU of it together, which
no other has. Cores are not reserved: a worker must have as many as a version states, and its instances share them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from modelyard.catalogue import Resources
from modelyard.config import format_bytes
from modelyard.deployment import Deployment, Placement, Selector, Worker

BOUND = 1.25


@dataclass(frozen=True)
class Need:
    """What one instance takes of a worker; with `shares_gpu` a part of one GPU."""

    cpu: float = 0.0
    memory_bytes: int = 0
    gpu: int = 0
    shares_gpu: bool = False

    def __str__(self) -> str:
        """`3 GiB, 2 cores, 1 GPUs`."""
        gpus = ["a shared GPU"] if self.shares_gpu else [f"{self.gpu} GPUs"] * bool(self.gpu)
        return ", ".join([format_bytes(self.memory_bytes), *([f"{self.cpu:g} cores"] * bool(self.cpu)), *gpus])


def need_of(wanted: Deployment | Placement) -> Need:
    """What each instance of a deployment needs, or what a placement has reserved."""
    needs, device = wanted.resources, wanted.options.device
    gpu = 0 if device == "cpu" else needs.gpu
    return Need(needs.cpu, needs.memory_bytes, gpu, shares_gpu=device == "cuda" and not gpu)


def selected(on: Selector, worker: Worker) -> bool:
    """Whether replicas may go to a worker."""
    if not on.workers and not on.labels:
        return True
    named = not on.workers or worker.id in on.workers
    return named and all(worker.labels.get(key) == value for key, value in on.labels)


def selector_text(on: Selector) -> str:
    """A selector as --on takes it."""
    return ", ".join([*(f"worker={worker}" for worker in on.workers), *(f"{k}={v}" for k, v in on.labels)])


def unfit(need: Need, worker: Worker) -> str:
    """Why a worker could never hold an instance, even if it were empty; empty if it could."""
    if need.cpu > worker.cpu:
        return f"needs {need.cpu:g} cores, it has {worker.cpu:g}"
    if need.memory_bytes > worker.memory_bytes:
        return f"needs {format_bytes(need.memory_bytes)} of memory, it has {format_bytes(worker.memory_bytes)}"
    if max(need.gpu, need.shares_gpu) > len(worker.devices):
        return f"needs {max(need.gpu, 1)} GPUs, it has {len(worker.devices)}"
    return ""


@dataclass
class Reserved:
    """What is taken of one worker; `sharing` counts the instances that share a GPU."""

    memory_bytes: int = 0
    gpu: int = 0
    sharing: int = 0

    @property
    def gpus(self) -> int:
        """How many GPUs are not free."""
        return self.gpu + bool(self.sharing)


@dataclass
class Load:
    """What is reserved on each live worker. Workers that drain do not count for the mean."""

    workers: Mapping[str, Worker]
    reserved: dict[str, Reserved] = field(default_factory=dict)
    _total_bytes: int = 0
    _capacity_bytes: int = -1

    def on(self, worker_id: str) -> Reserved:
        """What is taken of a worker."""
        taken = self.reserved.get(worker_id)
        if taken is None:
            taken = self.reserved[worker_id] = Reserved()
        return taken

    def free_bytes(self, worker: Worker) -> int:
        """What is left of a worker's memory."""
        return worker.memory_bytes - self.on(worker.id).memory_bytes

    def add(self, worker_id: str, need: Need, times: int = 1) -> None:
        """Reserve what an instance needs; `times` -1: give it back."""
        taken = self.on(worker_id)
        taken.memory_bytes += times * need.memory_bytes
        taken.gpu += times * need.gpu
        taken.sharing += times * need.shares_gpu
        self._total_bytes += times * need.memory_bytes

    def within_bound(self, worker: Worker, need: Need) -> bool:
        """Whether the worker's load stays below the bound with one more instance."""
        if self._capacity_bytes < 0:
            self._capacity_bytes = sum(w.memory_bytes for w in self.workers.values() if not w.draining)
        after = self.on(worker.id).memory_bytes + need.memory_bytes
        mean = (self._total_bytes + need.memory_bytes) / max(self._capacity_bytes, 1)
        return after / worker.memory_bytes <= BOUND * mean


def obstacle(need: Need, worker: Worker, load: Load) -> str:
    """Why a worker cannot hold one more instance now; empty if it can."""
    if has_room(need, worker, load):
        return ""
    reason = unfit(need, worker)
    if not reason and need.memory_bytes > load.free_bytes(worker):
        free = f"{format_bytes(load.free_bytes(worker))} of {format_bytes(worker.memory_bytes)} are free"
        reason = f"needs {format_bytes(need.memory_bytes)} of memory, {free}"
    free_gpus = len(worker.devices) - load.on(worker.id).gpus
    return reason or f"needs {max(need.gpu, 1)} GPUs, {free_gpus} of {len(worker.devices)} are free"


def has_room(need: Need, worker: Worker, load: Load) -> bool:
    """Whether a worker can hold one more instance now."""
    taken = load.on(worker.id)
    if need.cpu > worker.cpu or need.memory_bytes > worker.memory_bytes - taken.memory_bytes:
        return False
    if not (need.gpu or need.shares_gpu):
        return True
    return taken.gpu + need.gpu + (need.shares_gpu or taken.sharing > 0) <= len(worker.devices)


def stated(resources: Resources) -> Need:
    """What a version states, of no options."""
    return Need(resources.cpu, resources.memory_bytes, resources.gpu)
