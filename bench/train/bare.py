"""The same model in a script for torchrun: stock DDP, a loader, a loop. Prints the seconds that the steps took."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler

from bench.train.model import BATCH, LR, SEED, module, pairs


class Script:
    """What such a script does in its loop, in the default process group."""

    def __init__(self) -> None:
        torch.manual_seed(SEED)
        samples: Any = pairs()
        self._model = DistributedDataParallel(module())
        self._optimizer = torch.optim.SGD(self._model.parameters(), lr=LR, momentum=0.9)
        self._sampler: DistributedSampler[Any] = DistributedSampler(samples, seed=SEED)
        self._loader = DataLoader(samples, batch_size=BATCH // dist.get_world_size(), sampler=self._sampler)
        self._batches = self._read()

    def _read(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        epoch = 0
        while True:
            self._sampler.set_epoch(epoch)
            yield from self._loader
            epoch += 1

    def step(self) -> None:
        """Do the next step."""
        inputs, targets = next(self._batches)
        loss = nn.functional.cross_entropy(self._model(inputs), targets)
        loss.item()  # a script shows its loss
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()


def main(warm: int, steps: int) -> None:
    """Do so many steps, of which the first are not timed."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    script = Script()
    for _ in range(warm):
        script.step()
    begun_s = time.perf_counter()
    for _ in range(steps):
        script.step()
    if dist.get_rank() == 0:
        print(f"seconds {time.perf_counter() - begun_s}", flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
