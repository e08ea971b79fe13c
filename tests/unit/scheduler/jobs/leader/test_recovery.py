"""Claims of workers that are gone."""

from __future__ import annotations

from dataclasses import dataclass, field

from modelyard.deployment import Worker
from modelyard.queue import Caps, Claim, Job, Task
from modelyard.queue.memory import MemoryQueue
from modelyard_scheduler.jobs.leader.metrics import Figures
from modelyard_scheduler.jobs.leader.recovery import FORGET_S, LEASE_S, Recovery

MODEL = "digits@1"


@dataclass
class Cluster:
    """Workers, some of which are gone."""

    live: dict[str, Worker] = field(default_factory=dict)
    refusing: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    now_s: float = 0.0

    def __post_init__(self) -> None:
        self.queue = MemoryQueue(lambda: self.now_s, lambda: 1.0)
        self.figures = Figures()
        self.live = {name: Worker(name, f"{name}:1", 1.0, 1, name) for name in ("w1", "w2")}
        self.recovery = Recovery(self.queue, lambda: self.live, self.refuses, self.figures, lambda: self.now_s)

    async def refuses(self, address: str) -> bool:
        self.asked.append(address)
        return address in self.refusing

    async def claim(self, *workers: str) -> dict[str, Claim]:
        await self.queue.open(Job("job-1", MODEL, "default"))
        await self.queue.enqueue("job-1", [Task(worker) for worker in workers], Caps())
        found = {worker: await self.queue.fetch(worker, [MODEL]) for worker in workers}
        return {worker: claim for worker, claim in found.items() if isinstance(claim, Claim)}

    async def in_flight(self) -> int:
        return (await self.queue.job("job-1")).counts.in_flight


async def test_a_worker_whose_address_refuses_loses_its_claims_at_once() -> None:
    cluster = Cluster()
    claims = await cluster.claim("w1", "w2")
    await cluster.recovery.bury()
    del cluster.live["w1"]
    cluster.refusing.add("w1:1")
    await cluster.recovery.bury()
    assert await cluster.in_flight() == 1
    assert await cluster.queue.extend("w1", [claims["w1"]]) == [claims["w1"]]
    assert await cluster.queue.extend("w2", [claims["w2"]]) == []
    assert cluster.figures.recovered == {"returned": 1}
    await cluster.recovery.bury()
    assert cluster.asked == ["w1:1"]


async def test_a_worker_that_only_lost_its_key_keeps_its_claims() -> None:
    cluster = Cluster()
    await cluster.claim("w1", "w2")
    await cluster.recovery.bury()
    gone = cluster.live.pop("w1")
    await cluster.recovery.bury()
    assert await cluster.in_flight() == 2
    cluster.live["w1"] = gone
    await cluster.recovery.bury()
    del cluster.live["w1"]
    cluster.now_s += FORGET_S
    await cluster.recovery.bury()
    assert len(cluster.asked) == 2
    cluster.now_s += FORGET_S
    await cluster.recovery.bury()
    await cluster.recovery.bury()
    assert len(cluster.asked) == 3  # it is not looked for any more
    assert await cluster.in_flight() == 2


async def test_claims_that_nobody_extends_are_taken_back_after_a_lease() -> None:
    cluster = Cluster()
    claims = await cluster.claim("w1", "w2")
    for _ in range(4):
        await cluster.queue.extend("w2", [claims["w2"]])
        await cluster.recovery.recover()
        cluster.now_s += LEASE_S / 3
    assert await cluster.in_flight() == 1
    assert cluster.figures.looked_s > 0.0
