"""What the leader sees of workers that vanish."""

from __future__ import annotations

import asyncio

from modelyard.catalogue import Resources
from modelyard.deployment import Placement, Worker
from modelyard.etcd import Etcd
from modelyard_scheduler.observer import Observer
from modelyard_scheduler.state import State


def placed(worker: str) -> Placement:
    return Placement("m", "1", worker, "d" * 64, "onnx", Resources(), 1)


def worker(name: str, address: str) -> Worker:
    return Worker(name, address, 4.0, 1 << 34, name)


async def test_a_worker_that_vanishes_while_is_looked_is_not_given_up(etcd: Etcd) -> None:
    state = State(etcd, lambda: None)

    def vanish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        state.workers.items.pop("w0", None)
        writer.close()

    server = await asyncio.start_server(vanish, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    state.workers.items = {name: worker(name, address) for name in ("w0", "w1")}
    observer, placements = Observer(state), [placed("w0"), placed("w1")]
    await observer.look(placements)
    del state.workers.items["w1"]
    await observer.look(placements)
    seen = observer.view(placements)
    assert "w0" not in state.workers.items
    assert ("w0" in seen.workers, set(seen.lingering)) == (True, {"w1"})
    await observer.look(placements)
    seen = observer.view(placements)
    assert (set(seen.workers), set(seen.lingering)) == (set(), {"w0", "w1"})
    server.close()
    await server.wait_closed()


async def test_a_worker_that_was_given_a_placement_just_now_is_missed_too(etcd: Etcd) -> None:
    state = State(etcd, lambda: None)
    state.workers.items = {name: worker(name, "127.0.0.1:1") for name in ("w0", "w1")}
    observer = Observer(state)
    await observer.look([])
    del state.workers.items["w0"]
    assert state.placements.items == {}, "the mirror lags behind"
    await observer.look([placed("w0")])
    assert set(observer.lost.since_s) == {"w0"}
