"""Threads that get no further."""

from __future__ import annotations

import threading

from modelyard.train.elastic.watch import LOOKS, Periodic, Watch, stalled


def test_a_thread_that_is_at_the_same_for_so_many_looks_stalls_and_that_is_said_once() -> None:
    watch = Watch(5.0, lambda: ("at", 3))
    assert watch.pause_s == 5.0 / LOOKS
    assert [watch.stalls() for _ in range(3 * LOOKS)] == [look == LOOKS for look in range(3 * LOOKS)]


def test_who_gets_further_or_waits_for_others_does_not() -> None:
    seen: list[object] = [*["a"] * LOOKS, "b", *["c"] * LOOKS, None, *["c"] * LOOKS, *[None] * 2 * LOOKS]
    watch = Watch(5.0, iter(seen).__next__)
    assert not any(watch.stalls() for _ in seen)


def test_it_is_told_where_the_thread_is() -> None:
    arrived, leave = threading.Event(), threading.Event()

    def stuck_here() -> None:
        arrived.set()
        leave.wait()

    thread = threading.Thread(target=stuck_here)
    thread.start()
    arrived.wait()
    assert thread.ident
    error = stalled("step 7", 2.5, thread.ident)
    leave.set()
    thread.join()
    assert error.message == "step 7: the recipe got no further for 2.5 s, and was stopped"
    assert error.traceback.startswith("Stack (most recent call last):\n")
    assert "in stuck_here\n    leave.wait()" in error.traceback


def test_something_is_called_again_and_again_while_it_is_entered() -> None:
    calls = threading.Semaphore(0)
    with Periodic(0.001, calls.release, "calls") as periodic:
        for _ in range(3):
            assert calls.acquire(timeout=30)
    periodic._thread.join(30)
    assert not periodic._thread.is_alive()
