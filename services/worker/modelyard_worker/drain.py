"""A worker that is about to end: it has what is on it loaded elsewhere first, as long as somebody can see to that."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

from modelyard import codec, keys
from modelyard.deployment import Worker
from modelyard.errors import PASSING
from modelyard.etcd import Etcd
from modelyard.session import Session
from modelyard_worker.agent import Agent

log = logging.getLogger(__name__)

LOOK_S = 0.5
ANSWER_S = 2.0
PATIENCE_S = 5.0
"""So long etcd may give no answer; it does so whenever its own leader changes."""


async def drain(worker: Worker, etcd: Etcd, session: Session, agent: Agent, drain_s: float) -> None:
    """Announce that this worker drains, and return when its placements are withdrawn and unloaded.

    Not later than after `drain_s`; and earlier where waiting is of no use: when etcd stays away, and at once when
    nobody leads and no scheduler lives that could. (When a whole suite is stopped, its schedulers go first.)
    """
    if agent.idle.is_set() or not drain_s:
        return
    log.info("draining", extra={"placements": sorted(agent.placements.items)})
    await session.put(keys.worker(worker.id), codec.encode(replace(worker, draining=True)))
    clock = asyncio.get_running_loop().time
    answered_s = clock()
    ends_s = answered_s + drain_s
    while not agent.idle.is_set() and clock() < ends_s:
        led = await _is_led(etcd) if session.settled.is_set() else None
        if led:
            answered_s = clock()
        elif led is False or clock() - answered_s > PATIENCE_S:
            log.warning("drain given up", extra={"reason": "no scheduler, or no etcd, sees to what is placed here"})
            return
        try:
            async with asyncio.timeout(min(LOOK_S, drain_s)):
                await agent.idle.wait()
        except TimeoutError:
            continue
    log.info("drained", extra={"left": sorted(agent.placements.items)})


async def _is_led(etcd: Etcd) -> bool | None:
    """Whether somebody leads, or may lead soon; None if etcd does not answer."""
    try:
        async with asyncio.timeout(ANSWER_S):
            return await etcd.get(keys.LEADER) is not None or bool(await etcd.keys(keys.members("scheduler")))
    except (TimeoutError, *PASSING):
        return None
