"""`python -m bench.train.restarted DIRECTORY`: a rank under torchrun, which goes on from a snapshot.

It writes a file, named as its process, when it has done its first step, and trains until it is killed.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from tests.integration.train.elastic.rank import BATCH, SAMPLES
from tests.unit.train.recipes import Small, pairs

SNAPSHOT_STEPS = 100


def written(path: Path, write: object) -> None:
    """Write a file as a whole: a text, or what torch saves."""
    new = path.with_suffix(".new")
    new.write_text(write) if isinstance(write, str) else torch.save(write, new)
    new.rename(path)


def main(directory: Path) -> None:
    """Train."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    snapshot = directory / "snapshot.pt"
    recipe = Small()
    module = recipe.model()
    if snapshot.exists():
        module.load_state_dict(torch.load(snapshot))
    model = DistributedDataParallel(module)
    optimizer = recipe.optimizer(model)
    samples, step = pairs(SAMPLES), 0
    while True:
        part = [samples[(step * BATCH + rank + world * index) % SAMPLES] for index in range(BATCH // world)]
        inputs, targets = (torch.stack(values) for values in zip(*part, strict=True))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        step += 1
        if step == 1:
            written(directory / f"rank-{os.getpid()}", json.dumps({"at": time.monotonic(), "world": world}))
        if rank == 0 and step % SNAPSHOT_STEPS == 0:
            written(snapshot, module.state_dict())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
