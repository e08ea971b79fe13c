"""What is reserved on each worker, and why a worker cannot hold one more instance. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from modelyard.catalogue import Resources, Version
from modelyard.config import format_bytes
from modelyard.deployment import Selector, Worker
from modelyard.reservation import Need, Reserved, usual_bytes

BOUND = 1.25


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
class Load:
    """What is reserved on each live worker. Workers that drain do not count for the mean."""

    workers: Mapping[str, Worker]
    reserved: dict[str, Reserved] = field(default_factory=dict)
    _total_bytes: int = 0
    _capacity_bytes: int = -1
    _apart_bytes: dict[str, int] = field(default_factory=dict)

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
        self.on(worker_id).add(need, times)
        self._total_bytes += times * need.memory_bytes

    def add_apart(self, worker_id: str, need: Need, times: int = 1) -> None:
        """Reserve what does not count for the bound: an internal replica, or what is on its way out."""
        self.on(worker_id).add(need, times)
        self._apart_bytes[worker_id] = self._apart_bytes.get(worker_id, 0) + times * need.memory_bytes

    def within_bound(self, worker: Worker, need: Need) -> bool:
        """Whether the worker's load stays below the bound with one more instance."""
        if self._capacity_bytes < 0:
            self._capacity_bytes = sum(w.memory_bytes for w in self.workers.values() if not w.draining)
        counted = self.on(worker.id).memory_bytes - self._apart_bytes.get(worker.id, 0)
        after = counted + need.memory_bytes
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
    return load.on(worker.id).leaves_room(need, worker)


def stated(resources: Resources) -> Need:
    """What a version states, of no options."""
    return Need(resources.cpu, resources.memory_bytes, resources.gpu)


def estimate(version: Version, copies: int = 1) -> Resources:
    """What an instance needs: as stated for each copy, else what is usual."""
    stated = version.resources
    memory_bytes = copies * stated.memory_bytes or usual_bytes(version.size_bytes, copies)
    return dataclasses.replace(stated, memory_bytes=memory_bytes)
