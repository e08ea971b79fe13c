"""Whether something answers, and who is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from modelyard import dependency
from modelyard.dependency import Dependency, of_etcd, of_redis
from modelyard.errors import UnavailableError
from modelyard.etcd import Etcd
from modelyard.local.ports import Port
from modelyard.redis import Redis
from tests.waiting import eventually


class Peer:
    """Answers, or fails as it is told; notes how often it was asked, and what was said of it."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.asked = 0
        self.said: list[bool] = []
        self.hangs = False
        self.dependency = Dependency("peer", self.ask, lambda: self.said.append(self.dependency.answers), every_s=0)

    async def ask(self) -> None:
        self.asked += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.failure:
            raise self.failure

    async def again(self, times: int = 3) -> None:
        """Wait until it was asked so often again."""
        least = self.asked + times
        await eventually(lambda: self.asked >= least)


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    made = Peer()
    running = asyncio.ensure_future(made.dependency.run())
    yield made
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_what_answers_is_no_news(peer: Peer) -> None:
    await peer.again()
    assert peer.dependency.answers
    assert peer.said == []


@pytest.mark.parametrize("failure", [UnavailableError("away"), ConnectionRefusedError(), PermissionError("closed")])
async def test_what_fails_is_away_until_it_answers(peer: Peer, failure: Exception) -> None:
    peer.failure = failure
    await eventually(lambda: not peer.dependency.answers)
    peer.failure = None
    await eventually(lambda: peer.dependency.answers)
    assert peer.said == [False, True]


async def test_one_failure_is_none(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependency, "PATIENCE", 10**9)
    peer.failure = UnavailableError("slow")
    await peer.again(20)
    assert peer.dependency.answers
    monkeypatch.setattr(dependency, "PATIENCE", 1)
    await eventually(lambda: not peer.dependency.answers)


async def test_silence_is_absence(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependency, "TIMEOUT_S", 0.02)
    peer.hangs = True
    await eventually(lambda: not peer.dependency.answers)
    peer.hangs = False
    await eventually(lambda: peer.dependency.answers)


async def test_a_bug_is_not_an_absence() -> None:
    async def broken() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await Dependency("broken", broken).run()


async def test_etcd_and_redis_that_are_not_there_are_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependency, "EVERY_S", 0)
    port = Port()
    etcd, redis = Etcd(port.address), Redis(port.address)
    found = [of_etcd(etcd), of_redis(redis)]
    running = [asyncio.ensure_future(each.run()) for each in found]
    await eventually(lambda: not any(each.answers for each in found))
    for each in running:
        each.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    await etcd.close()
    await redis.close()
    port.release()
