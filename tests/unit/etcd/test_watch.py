from __future__ import annotations

from typing import Any

import pytest
from aetcd import rpc

from modelyard.etcd import Batch
from modelyard.etcd.watch import Transactions


def response(*events: tuple[int, str], fragment: bool = False, revision: int = 0) -> Any:
    """What etcd sends; a key with `-` before it is deleted."""
    found = rpc.WatchResponse(fragment=fragment)
    found.header.revision = revision
    for at, key in events:
        event = found.events.add(type=int(key.startswith("-")))
        event.kv.key, event.kv.mod_revision = key.lstrip("-").encode(), at
    return found


def told(batches: list[Batch]) -> list[tuple[int, str]]:
    """The batches with their keys, `-` before those that are deleted."""
    return [(b.revision, " ".join("-" * (c.value is None) + c.key for c in b.changes)) for b in batches]


def test_a_response_may_have_several_transactions() -> None:
    batches = Transactions(1).add(response((5, "a"), (5, "-b"), (7, "a"), (8, "c"), (8, "d")))
    assert told(batches) == [(5, "a -b"), (7, "a"), (8, "c d")]


def test_a_transaction_may_come_in_fragments() -> None:
    transactions = Transactions(1)
    assert told(transactions.add(response((5, "a"), (6, "b"), (6, "c"), fragment=True))) == [(5, "a")]
    assert told(transactions.add(response((6, "d"), fragment=True))) == []
    assert told(transactions.add(response((6, "e"), (7, "f"), fragment=True))) == [(6, "b c d e")]
    assert told(transactions.add(response((7, "g"), (8, "h")))) == [(7, "f g"), (8, "h")]
    assert told(transactions.add(response((9, "i")))) == [(9, "i")]


def test_fragments_may_end_between_transactions() -> None:
    transactions = Transactions(1)
    assert told(transactions.add(response((5, "a"), fragment=True))) == []
    assert told(transactions.add(response((6, "b")))) == [(5, "a"), (6, "b")]


@pytest.mark.parametrize("fragment", [False, True])
def test_what_came_before_the_start_is_passed_over(fragment: bool) -> None:
    transactions = Transactions(6)
    assert transactions.add(response((5, "a"), (5, "b"), fragment=fragment)) == []
    assert told(transactions.add(response((5, "c"), (6, "d")))) == [(6, "d")]


def test_a_response_without_events_says_how_far_the_watch_has_come() -> None:
    assert Transactions(6).add(response(revision=90)) == [Batch(90)]
