"""Garbage that is collected seldom, and without a look at what stays."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from modelyard import garbage


class Cycle:
    """Refers to itself."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    threshold = gc.get_threshold()
    yield
    gc.set_threshold(*threshold)
    gc.freeze()  # as it was when the tests had been collected


def test_what_is_there_is_not_looked_at_again() -> None:
    gc.unfreeze()
    stays = Cycle()
    garbage.spare()
    assert gc.get_threshold()[0] == garbage.THRESHOLD
    assert not any(found is stays for found in gc.get_objects())
    assert gc.get_freeze_count() > 10_000


def test_what_comes_later_is_collected_and_what_had_gone_is_not_kept() -> None:
    before = weakref.ref(Cycle())
    garbage.spare()
    after = weakref.ref(Cycle())
    assert before() is None
    gc.collect()
    assert after() is None
