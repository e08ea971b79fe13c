"""A checkpoint that cannot be read yet: a rank that is to go on from it, in a thread, and a real control service."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from modelyard import codec, keys
from modelyard.etcd import Etcd
from modelyard.train.control.fence import NONE, Record
from modelyard.train.control.limits import Limits
from modelyard.train.control.messages import Hello, Saved
from modelyard.train.control.store import Store
from modelyard.train.control.waiting import Waits
from modelyard.train.elastic.driver import Driver
from modelyard.train.elastic.host import Host
from modelyard.train.elastic.member import Member
from modelyard.train.local import training
from modelyard.train.loop import Ending
from modelyard.train.options import TrainingOptions
from modelyard.train.position import Position
from modelyard.train.reduction import GroupLost
from tests.integration.train.control.controls import Control
from tests.integration.train.control.members import AGREEMENT, JOB, SECRET
from tests.unit.train.recipes import Small, pairs
from tests.waiting import eventually

AWAY = "the checkpoint cannot be read yet: no registry is live"
LAST = Saved(Position(0, 0, 0), "d" * 64)


class Stored(Host):
    """Its checkpoint has the state of the beginning."""

    away = True
    tried = 0

    def restore(self, saved: Saved) -> None:
        assert saved == LAST
        self.tried += 1
        if self.away:
            raise GroupLost(AWAY)


async def test_the_reason_is_told_until_it_is_read(etcd: Etcd) -> None:
    await etcd.put(keys.training_formation(JOB), codec.encode(Record(replace(NONE, checkpoint=LAST))))
    control, store, host = Control(etcd), Store("127.0.0.1"), Stored()
    await control.start(Limits(settle_s=0.05), f"127.0.0.1:{store.port}")
    member = Member(Hello(JOB, "w0/1", SECRET, "127.0.0.1", AGREEMENT), lambda: control.address)
    options = TrainingOptions(epochs=1, batch_size=4)
    driver = Driver(member, training(Small(), pairs(8), None, options), host)
    run = asyncio.ensure_future(asyncio.to_thread(driver.run))
    begun_s = time.time()
    try:
        await eventually(lambda: host.tried > 1)
        waits = control.progress.waits
        assert waits.reason == AWAY
        assert begun_s <= waits.since_s <= time.time()
        await eventually(lambda: host.tried > 2)
        assert control.progress.waits == waits
    finally:
        host.away = False
        await asyncio.wait_for(control.service.ended.wait(), 120)
        control.service.dismiss()
        ending = await run
        await control.close()
    assert ending is Ending.FINISHED
    assert control.progress.waits == Waits()
