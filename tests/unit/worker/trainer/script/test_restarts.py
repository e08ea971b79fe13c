"""How restarts of scripts are counted."""

from __future__ import annotations

from modelyard.train.control.messages import Formation
from modelyard_worker.trainer.script.failure import ScriptFailure
from modelyard_worker.trainer.script.restarts import Restarts, Standing

ODD = ScriptFailure("odd", "ValueError: odd", 5.0)
CLOSED = ScriptFailure("closed", "RuntimeError: Connection closed by peer", 4.0)


def formation(number: int, *members: str) -> Formation:
    return Formation(number, members, ("127.0.0.1",) * len(members), "")


BOTH = formation(1, "a", "b")


def enter(ranks: list[Restarts], following: Formation) -> list[Standing]:
    """What they have brought; they have agreed on it."""
    standings = [one.enter(following) for one in ranks]
    for one in ranks:
        one.agree(standings)
    return standings


def test_a_failure_is_counted_once_whoever_fails_with_it() -> None:
    ranks = [Restarts("cpu"), Restarts("cuda:0")]
    assert enter(ranks, BOTH) == [Standing("cpu"), Standing("cuda:0")]
    ranks[0].fail(BOTH, CLOSED)
    ranks[1].fail(BOTH, ODD)
    enter(ranks, formation(2, "a", "b"))
    assert [(one.count, one.last) for one in ranks] == [(1, ODD), (1, ODD)]
    enter(ranks, formation(3, "a", "b"))
    assert [(one.count, one.last) for one in ranks] == [(1, ODD), (1, ODD)]


def test_the_earlier_of_two_failures_is_told() -> None:
    ranks = [Restarts("cpu"), Restarts("cpu")]
    later = ScriptFailure("later", "", 6.0)
    ranks[0].fail(BOTH, later)
    ranks[1].fail(BOTH, ODD)
    enter(ranks, formation(2, "a", "b"))
    assert ranks[0].last == ODD


def test_who_fails_because_a_member_was_lost_does_not_count() -> None:
    survivor = Restarts("cpu")
    survivor.fail(BOTH, CLOSED)
    enter([survivor], formation(2, "a", "c"))
    assert (survivor.count, survivor.last) == (0, None)


def test_who_was_left_out_after_its_failure_brings_it_when_it_is_back() -> None:
    healthy, failing = Restarts("cpu"), Restarts("cpu")
    failing.fail(BOTH, ODD)
    enter([healthy], formation(2, "a"))
    enter([healthy, failing], formation(3, "a", "b"))
    assert (healthy.count, failing.count, healthy.last) == (1, 1, ODD)


def test_who_comes_later_learns_what_has_been() -> None:
    done = Restarts("cpu")
    done.count, done.done = 2, True
    newcomer = Restarts("cpu")
    enter([done, newcomer], formation(5, "a", "b"))
    assert (newcomer.count, newcomer.done) == (2, True)
