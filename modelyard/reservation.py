"""What an instance needs of a machine, and what of it is taken. Pure: the leader and the agents reckon alike.

Memory is reserved in bytes. GPUs are reserved whole by versions that state how many they need. A version that states
none and is run with the option device=cuda shares: all such instances of a worker have one GPU of it together, which
no other has. Cores are not reserved: a worker must have as many as a version states, and its instances share them.
"""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass
from typing import Protocol

from modelyard.config import format_bytes
from modelyard.deployment import Deployment, Placement

RUNNER_BYTES = 128 << 20
"""A runner's own memory, for a version that does not state its need."""


class Machine(Protocol):
    """What holds instances: its cores, bytes of memory and accelerators."""

    @property
    def cpu(self) -> float:
        """How many cores it has."""
        ...

    @property
    def memory_bytes(self) -> int:
        """How much memory it has."""
        ...

    @property
    def devices(self) -> Sized:
        """Its accelerators."""
        ...


def usual_bytes(size_bytes: int, copies: int = 1) -> int:
    """What a runner takes in most cases: for each copy twice its artifact of so many bytes: as is, and prepacked."""
    return RUNNER_BYTES + 2 * copies * size_bytes


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

    def add(self, need: Need, times: int = 1) -> None:
        """Take what an instance needs; `times` -1: give it back."""
        self.memory_bytes += times * need.memory_bytes
        self.gpu += times * need.gpu
        self.sharing += times * need.shares_gpu

    def leaves_room(self, need: Need, machine: Machine) -> bool:
        """Whether a machine of which this is taken can hold one more instance."""
        if need.cpu > machine.cpu or need.memory_bytes > machine.memory_bytes - self.memory_bytes:
            return False
        if not (need.gpu or need.shares_gpu):
            return True
        return self.gpu + need.gpu + (need.shares_gpu or self.sharing > 0) <= len(machine.devices)
