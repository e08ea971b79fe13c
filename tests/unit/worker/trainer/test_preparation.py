"""Users' code that gets no further before there is anything to train."""

from __future__ import annotations

import threading

import pytest

from modelyard.train.elastic import watch
from modelyard.train.elastic.watch import LOOKS
from modelyard.train.failure import RecipeError
from modelyard_worker.trainer import preparation
from modelyard_worker.trainer.preparation import watched

LIMIT_S = 0.1


def test_code_that_hangs_is_told_of_with_where_it_is() -> None:
    told: list[RecipeError] = []
    heard = threading.Event()

    def tell(error: RecipeError) -> None:
        told.append(error)
        heard.set()

    with watched("import", LIMIT_S, tell):
        assert heard.wait(30)
    assert told[0].message == "import: the recipe got no further for 0.1 s, and was stopped"
    assert "heard.wait(30)" in told[0].traceback


def test_who_reads_does_get_further() -> None:
    told: list[RecipeError] = []
    looks = threading.Semaphore(0)

    def reads() -> object:
        looks.release()
        return object()

    with watched("before the first step", LIMIT_S, told.append, reads):
        for _ in range(3 * LOOKS):
            assert looks.acquire(timeout=30)
    assert not told


def test_what_is_read_may_be_away(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[RecipeError] = []
    looks = threading.Semaphore(0)
    is_reading = watch.is_reading

    def looked(thread: int) -> bool:
        looks.release()
        return is_reading(thread)

    monkeypatch.setattr(preparation, "is_reading", looked)
    monkeypatch.setattr(watch, "_DATASETS", __file__)  # so that what this thread does is a reading
    with watched("before the first step", LIMIT_S, told.append):
        for _ in range(3 * LOOKS):
            assert looks.acquire(timeout=30)
    assert not told
