"""A run that saves into the artifact store of a registry, in a process of its own, until it is killed."""

from __future__ import annotations

import asyncio
import threading
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from modelyard.rpc.registry import BlockingSource, RegistrySource
from modelyard.rpc.storing import Storing
from modelyard.train.checkpoint.artifacts import ArtifactCheckpoints, Site
from modelyard.train.checkpoint.loading import load
from modelyard.train.checkpoint.saver import Checkpoints
from modelyard.train.position import Position
from tests.unit.train.checkpoint.programs import equal, state_at


def run_until_killed(root: Path, told: Connection, endpoint: str, name: str) -> None:
    """Go on from that checkpoint (empty: from the beginning), and tell step and name of each that is whole."""
    torch.set_num_threads(1)
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    source, storing = RegistrySource(lambda: [endpoint]), Storing(lambda: [endpoint])
    site = Site(BlockingSource(source, loop), storing, loop, root, "acme")
    store = ArtifactCheckpoints(site, lambda _: None, [name] if name else [])
    step = 0
    if name:
        record, state = load(store, name)
        step = record.position.step + 1
        assert equal(state, state_at(record.position.step))
    checkpoints = Checkpoints(store, keep_last=2, on_saved=lambda position, saved: told.send((position.step, saved)))
    while True:
        checkpoints.save(state_at(step), Position(step))
        step += 1
