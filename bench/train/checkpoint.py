"""How long a checkpoint holds up training: written by a thread, as modelyard.train.checkpoint does it, or by a process.

    python -m bench.train.checkpoint [--width 1024] [--seconds 3] [--checkpoints 5]

A model of four layers with AdamW is trained, a checkpoint begun every so many seconds. Told are, as a share of the time
between two: how long `save` takes (the stall), and how much longer the steps beside the writing take than the others.
`store` is what jobs do: the artifact store of a real registry on this machine; `thread` writes into a directory. The
peer, `process`, is torch.distributed.checkpoint's own: its first save has the process started and torch imported.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions
from torch.distributed.checkpoint.state_dict_saver import AsyncCheckpointerType, async_save

from modelyard.jobs.checkpoints import uploads_of
from modelyard.rpc.registry import BlockingSource, RegistrySource
from modelyard.rpc.storing import Storing
from modelyard.train.checkpoint.artifacts import ArtifactCheckpoints, Site
from modelyard.train.checkpoint.directory import DirectoryCheckpoints
from modelyard.train.checkpoint.saver import Checkpoints
from modelyard.train.checkpoint.structure import take_apart
from modelyard.train.position import Position
from tests.integration.registry.remote import RegistryServer
from tests.servers import new_etcd

Save = Callable[[dict[str, Any], int], "Future[Any]"]


class Run:
    """What is trained."""

    def __init__(self, width: int) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(*(nn.Linear(width, width) for _ in range(4)))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), 1e-4)
        self.batch = torch.randn(64, width)
        self.step()

    def step(self) -> float:
        """Do a step; return its seconds."""
        begun_s = time.perf_counter()
        self.optimizer.zero_grad()
        self.model(self.batch).square().mean().backward()
        self.optimizer.step()
        return time.perf_counter() - begun_s

    def state(self) -> dict[str, Any]:
        """All of it."""
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}


@dataclass
class Figures:
    """Seconds."""

    stalls: list[float] = field(default_factory=list)
    written: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)
    alone: list[float] = field(default_factory=list)


def measure(run: Run, save: Save, seconds: float, checkpoints: int) -> Figures:
    """Train for so long after each of so many checkpoints."""
    figures = Figures()
    for number in range(checkpoints):
        begun_s = time.perf_counter()
        saved = save(run.state(), number)
        figures.stalls.append(time.perf_counter() - begun_s)
        saved.add_done_callback(partial(note, figures, begun_s))
        while time.perf_counter() - begun_s < seconds or not saved.done():
            (figures.alone if saved.done() else figures.beside).append(run.step())
        saved.result()
    return figures


def note(figures: Figures, begun_s: float, _: Future[Any]) -> None:
    """A checkpoint is whole."""
    figures.written.append(time.perf_counter() - begun_s)


def in_store(root: Path) -> tuple[Save, Callable[[], None]]:
    """As jobs do it: into the registry, hashed and sent by this process."""
    etcd = new_etcd(root / "etcd")
    etcd.start()
    registry = RegistryServer(root / "registry", etcd.endpoint)
    registry.start()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    for program in (etcd, registry):
        asyncio.run_coroutine_threadsafe(program.wait_ready(), loop).result()
    source, storing = RegistrySource(lambda: [registry.endpoint]), Storing(lambda: [registry.endpoint])
    site = Site(BlockingSource(source, loop), storing, loop, root / "scratch", "default", uploads_of("job-1"))
    checkpoints = Checkpoints(ArtifactCheckpoints(site, lambda _: None), keep_last=2)

    def close() -> None:
        checkpoints.close()
        for connection in (source, storing):
            asyncio.run_coroutine_threadsafe(connection.close(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        for program in (registry, etcd):
            program.close()

    return lambda state, number: checkpoints.save(state, Position(number)), close


def in_thread(root: Path) -> tuple[Save, Callable[[], None]]:
    """Into a directory."""
    checkpoints = Checkpoints(DirectoryCheckpoints(root), keep_last=2)
    return lambda state, number: checkpoints.save(state, Position(number)), checkpoints.close


def in_process(root: Path) -> tuple[Save, Callable[[], None]]:
    """torch's own: without digests, manifest, or anything removed."""
    stager = DefaultStager(StagingOptions(False, True, False, False))

    def save(state: dict[str, Any], number: int) -> Future[Any]:
        saved = async_save(
            take_apart(state)[0],
            storage_writer=FileSystemWriter(root / str(number)),
            async_checkpointer_type=AsyncCheckpointerType.PROCESS,
            async_stager=stager,
        )
        return cast("Future[Any]", saved)

    dist.init_process_group("gloo", init_method=f"file://{root}/meeting", rank=0, world_size=1)  # it insists on one
    return save, stager.close


def tell(name: str, figures: Figures, seconds: float) -> None:
    """Print a line of figures."""
    later = figures.stalls[1:]
    beside, alone = statistics.median(figures.beside), statistics.median(figures.alone)
    slower = sum(figures.beside) / len(figures.stalls) * (1 - alone / beside)
    print(
        f"{name:8} stall ms: first {figures.stalls[0] * 1e3:.0f}, then median {statistics.median(later) * 1e3:.0f}, "
        f"most {max(later) * 1e3:.0f}: {max(later) / seconds:.2%} of {seconds:g} s; whole after s: first "
        f"{figures.written[0]:.2f}, then {statistics.median(figures.written[1:]):.2f}; a step {alone * 1e3:.1f} ms, "
        f"{beside * 1e3:.1f} ms beside the writing: {slower / seconds:.2%} of the time"
    )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--checkpoints", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    run = Run(options.width)
    size_bytes = sum(tensor.nbytes for tensor in take_apart(run.state())[0].values())
    print(f"a state of {size_bytes / 2**20:.0f} MiB, a checkpoint every {options.seconds:g} s")
    for name, begin in (("store", in_store), ("thread", in_thread), ("process", in_process)):
        with tempfile.TemporaryDirectory() as directory:
            save, close = begin(Path(directory))
            tell(name, measure(run, save, options.seconds, options.checkpoints), options.seconds)
            close()


if __name__ == "__main__":
    main()
