"""The same model in a script for torchrun: stock DDP, a loader, a loop. Prints the seconds that the steps took."""

from __future__ import annotations

import sys
import time

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler

from bench.train.model import BATCH, LR, SEED, module, pairs


def main(warm: int, steps: int) -> None:
    """Do so many steps, of which the first are not timed."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    torch.manual_seed(SEED)
    samples = pairs()
    model = DistributedDataParallel(module())
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9)
    sampler: DistributedSampler[object] = DistributedSampler(samples, seed=SEED)  # type: ignore[arg-type]
    loader: DataLoader[object] = DataLoader(samples, batch_size=BATCH // dist.get_world_size(), sampler=sampler)  # type: ignore[arg-type]
    done, began_s = 0, 0.0
    while done < warm + steps:
        sampler.set_epoch(done)
        for inputs, targets in loader:
            if done == warm:
                began_s = time.perf_counter()
            loss = nn.functional.cross_entropy(model(inputs), targets)
            loss.item()  # a script shows its loss
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            done += 1
            if done == warm + steps:
                break
    if dist.get_rank() == 0:
        print(f"seconds {time.perf_counter() - began_s}", flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
