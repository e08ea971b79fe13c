from __future__ import annotations

from modelyard_scheduler.lost import GRACE_S, LostWorkers


def test_a_silent_worker_lingers_for_its_grace_and_not_longer() -> None:
    lost = LostWorkers()
    lost.observe({"w"}, 100.0)
    assert lost.lingering(9, 100.0) == {"w"}
    lost.observe({"w"}, 100.0 + GRACE_S - 0.1)
    assert lost.lingering(9, 100.0 + GRACE_S - 0.1) == {"w"}
    assert lost.lingering(9, 100.0 + GRACE_S) == set()


def test_a_worker_whose_connections_are_refused_does_not_linger() -> None:
    lost = LostWorkers()
    lost.observe({"w", "v"}, 0.0)
    lost.prove("w")
    assert lost.lingering(9, 0.1) == {"v"}


def test_who_is_back_begins_anew() -> None:
    lost = LostWorkers()
    lost.observe({"w"}, 0.0)
    lost.prove("w")
    lost.observe(set(), 10.0)
    lost.observe({"w"}, 20.0)
    assert lost.lingering(9, 20.0 + GRACE_S - 0.1) == {"w"}
    assert lost.refused == set()


def test_while_many_are_missing_together_none_is_given_up() -> None:
    lost = LostWorkers()
    lost.observe({"a", "b", "c", "d"}, 0.0)
    assert lost.lingering(6, 10 * GRACE_S) == {"a", "b", "c", "d"}
    lost.observe({"a", "b", "c"}, 10 * GRACE_S)
    assert lost.lingering(7, 10 * GRACE_S) == set()


def test_those_proven_lost_do_not_count_as_missing_together() -> None:
    lost = LostWorkers()
    lost.observe({"a", "b", "c", "d"}, 0.0)
    for worker in ("a", "b"):
        lost.prove(worker)
    assert lost.lingering(6, GRACE_S) == set()


def test_one_of_two_workers_is_given_up() -> None:
    lost = LostWorkers()
    lost.observe({"a"}, 0.0)
    assert lost.lingering(1, 1.0) == {"a"}
    assert lost.lingering(1, GRACE_S) == set()


def test_proof_of_a_worker_that_is_not_missing_counts_for_nothing() -> None:
    lost = LostWorkers()
    lost.prove("w")
    lost.observe({"w"}, 0.0)
    assert lost.lingering(9, 1.0) == {"w"}
