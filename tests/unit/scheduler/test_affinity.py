"""Choosing among instances, by load and by key; drawing the version of an alias."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass

import pytest

from modelyard.catalogue import Alias
from modelyard.deployment import Instance, InstanceState
from modelyard_scheduler.frontdoor.affinity import draw, in_order, less_loaded, pick


@dataclass(eq=False)
class Stream:
    outstanding: int = 0
    usable: bool = True
    worker: str = "w"

    @property
    def instance(self) -> Instance:
        return Instance("m", "1", self.worker, InstanceState.READY)


@pytest.fixture(autouse=True)
def seeded() -> None:
    random.seed(7)


def picks(*streams: Stream) -> Counter[int]:
    chosen = [pick(streams) for _ in range(3000)]
    return Counter(streams.index(c) for c in chosen if c)


def test_pick_of_none_and_of_one() -> None:
    assert pick([]) is None
    assert pick([Stream(usable=False)]) is None
    assert pick([Stream(usable=False)] * 3) is None
    assert picks(Stream(usable=False), Stream(9)) == {1: 3000}
    assert picks(Stream(usable=False), Stream(9), Stream(usable=False), Stream(usable=False)) == {1: 3000}


def test_pick_takes_the_less_loaded_of_two() -> None:
    assert picks(Stream(5), Stream(4)) == {1: 3000}


def test_pick_is_the_power_of_two_choices() -> None:
    # Of n ranked by load, the k-th least loaded is taken with probability 2 (n - k) / (n (n - 1)).
    counts = picks(*(Stream(i) for i in range(4)))
    assert [counts[i] / 3000 for i in range(4)] == pytest.approx([1 / 2, 1 / 3, 1 / 6, 0], abs=0.03)


def test_pick_among_many_does_so_with_those_that_are_usable() -> None:
    counts = picks(*(Stream(i, usable=i % 2 == 0) for i in range(6)))
    assert counts[0] > counts[2] > 0
    assert set(counts) == {0, 2}


def test_the_less_loaded_of_the_others() -> None:
    full, busy, idle, gone = Stream(3), Stream(4), Stream(1), Stream(0, usable=False)
    assert less_loaded([full, busy, idle, gone], full) is idle
    assert less_loaded([full, busy, gone], full) is None
    assert less_loaded([full, Stream(3)], full)


def test_keys_keep_their_instance_when_another_goes() -> None:
    streams = [Stream(worker=f"w{i}") for i in range(5)]
    keys = [f"key-{i}" for i in range(1000)]
    first = {key: in_order(key, streams)[0] for key in keys}
    assert all(150 < count < 260 for count in Counter(s.worker for s in first.values()).values())
    fewer = streams[:-1]
    for key in keys:
        order = in_order(key, fewer)
        assert order == [s for s in in_order(key, streams) if s is not streams[-1]]
        assert first[key] is streams[-1] or order[0] is first[key]
    assert [s.worker for s in in_order("key-0", streams)] == ["w2", "w1", "w3", "w4", "w0"]  # in every front door


def test_the_share_of_a_canary() -> None:
    assert {draw(Alias("a", "1")) for _ in range(100)} == {"1"}
    alias = Alias("a", "1", canary_version="2", canary_percent=10.0)
    assert Counter(draw(alias) for _ in range(10_000))["2"] == pytest.approx(1000, abs=150)
    assert Counter(draw(alias, f"k{i}") for i in range(10_000))["2"] == pytest.approx(1000, abs=150)
    assert len({draw(alias, "k7") for _ in range(100)}) == 1


def test_a_greater_share_takes_no_key_away_from_the_canary() -> None:
    small, great = (Alias("a", "1", canary_version="2", canary_percent=p) for p in (10.0, 30.0))
    keys = [f"k{i}" for i in range(1000)]
    assert {k for k in keys if draw(small, k) == "2"} < {k for k in keys if draw(great, k) == "2"}
