"""Which sequences are open, on a fake clock."""

from __future__ import annotations

import pytest

from modelyard.errors import ExhaustedError, SequenceError
from modelyard.oip.parameters import Sequence
from modelyard_worker.runner import sequences
from modelyard_worker.runner.sequences import IDLE_S, Sequences


def test_sequences_are_spread_over_the_copies_and_stay_there() -> None:
    table = Sequences(3)
    copies = [table.copy_for(Sequence(n, start=True), 0.0) for n in range(1, 7)]
    assert sorted(copies) == [0, 0, 1, 1, 2, 2]
    assert [table.copy_for(Sequence(n), 1.0) for n in range(1, 7)] == copies
    assert [table.copy_for(Sequence(n, start=True), 1.0) for n in range(1, 7)] == copies


def test_a_sequence_that_was_not_started_or_has_ended_is_refused() -> None:
    table = Sequences(1)
    with pytest.raises(SequenceError, match="sequence 7: expected sequence_start in its first call"):
        table.copy_for(Sequence(7), 0.0)
    table.copy_for(Sequence(7, start=True), 0.0)
    table.copy_for(Sequence(7, end=True), 0.0)
    with pytest.raises(SequenceError):
        table.copy_for(Sequence(7), 0.0)
    table.copy_for(Sequence("7", start=True, end=True), 0.0)
    assert len(table) == 0


def test_a_number_and_a_text_are_different_sequences() -> None:
    table = Sequences(1)
    table.copy_for(Sequence(7, start=True), 0.0)
    with pytest.raises(SequenceError, match="sequence '7'"):
        table.copy_for(Sequence("7"), 0.0)


def test_an_idle_sequence_ends_and_one_in_use_does_not() -> None:
    table = Sequences(1)
    table.copy_for(Sequence("idle", start=True), 0.0)
    table.copy_for(Sequence("used", start=True), 0.0)
    table.copy_for(Sequence("used"), IDLE_S - 1)
    table.copy_for(Sequence("used"), IDLE_S)
    assert len(table) == 1
    with pytest.raises(SequenceError, match="was not called for 60 s"):
        table.copy_for(Sequence("idle"), IDLE_S)


def test_there_are_only_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequences, "MOST", 2)
    table = Sequences(1)
    for n in (1, 2):
        table.copy_for(Sequence(n, start=True), 0.0)
    with pytest.raises(ExhaustedError, match="2 sequences are open") as caught:
        table.copy_for(Sequence(3, start=True), 0.0)
    assert caught.value.retry_after_s
    table.copy_for(Sequence(1), 1.0)
    table.copy_for(Sequence(3, start=True), IDLE_S)
