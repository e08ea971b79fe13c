"""A script for tests, written for torchrun: DDP, a snapshot after every step, and nothing of ours.

It is copied to be run. In its third step it waits for a file, if it is told a directory, and says there who waits.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import nn
from torch.nn.parallel import DistributedDataParallel

SNAPSHOT = Path("snapshot.pt")
GATE_STEP = 2
ROWS = 24


def wait_at(gate: Path) -> None:
    """Say who waits, and wait."""
    (gate / f"{os.getpid()}").write_text(f"{os.getppid()}")
    while not (gate / "open").exists():
        time.sleep(0.01)


def train(args: argparse.Namespace) -> dict[str, torch.Tensor]:
    """Return the weights after so many steps."""
    rank, world = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(0)
    model = DistributedDataParallel(nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1)))
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)
    begin = 0
    if SNAPSHOT.exists():
        snapshot = torch.load(SNAPSHOT)
        model.module.load_state_dict(snapshot["model"])
        optimizer.load_state_dict(snapshot["optimizer"])
        begin = snapshot["step"]
    print(f"rank {rank} of {world} begins at step {begin}, {os.environ['TORCHELASTIC_RESTART_COUNT']} restarts")
    inputs = torch.stack([torch.linspace(-1, 1, ROWS), torch.linspace(0, 1, ROWS) ** 2], 1)
    targets = inputs.sum(1, keepdim=True)
    for step in range(begin, args.steps):
        if step == GATE_STEP and args.gate:
            wait_at(Path(args.gate))
        optimizer.zero_grad()
        torch.autograd.backward(nn.functional.mse_loss(model(inputs[rank::world]), targets[rank::world]))
        optimizer.step()
        if rank == 0:
            state = {"model": model.module.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}
            torch.save(state, f"{SNAPSHOT}.new")
            Path(f"{SNAPSHOT}.new").replace(SNAPSHOT)
    weights: dict[str, torch.Tensor] = model.module.state_dict()
    return weights


def main() -> None:
    """Train, and have rank 0 write what came of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--gate", default="")
    parser.add_argument("--out", default=os.environ.get("MODELYARD_OUTPUT", "."))
    args = parser.parse_args()
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    weights = train(args)
    if dist.get_rank() == 0:
        save_file(weights, Path(args.out) / "model.safetensors")
        (Path(args.out) / "metrics.json").write_text(json.dumps({"steps": args.steps}))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
