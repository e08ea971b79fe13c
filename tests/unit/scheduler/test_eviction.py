from __future__ import annotations

from modelyard.deployment import Activity, Worker
from modelyard.names import ModelVersion
from modelyard.reservation import Need, need_of
from modelyard_scheduler.eviction import RECENT_S, WAIT_S, Candidate, Evictions, Uses
from modelyard_scheduler.load import Load
from modelyard_scheduler.placement import Conditions, Replicas
from tests.unit.scheduler.simulation import GIB, deployment, key, on, worker

M = key("m")


def seen(*told: tuple[float, int, bool], last_used_s: float = 0.0) -> Uses:
    """Looks at (when, the key's revision, whether it answers); the clocks of this machine and of callers are equal."""
    uses = Uses()
    for now_s, revision, ready in told:
        uses.observe({M: (revision, Activity(last_used_s))}, {M} if ready else set(), now_s, now_s)
    return uses


def test_a_use_is_what_changes_the_key_by_our_own_clock() -> None:
    assert seen((100.0, 1, True), last_used_s=40).idle_s(M, 100) == 60
    assert seen((100.0, 1, True), (130.0, 2, True), last_used_s=-1e9).idle_s(M, 150) == 20
    assert seen((100.0, 1, True), last_used_s=1e9).idle_s(M, 110) == 10  # a clock that is ahead


def test_a_key_that_appears_later_is_a_use_whatever_it_says() -> None:
    uses = Uses()
    uses.observe({}, set(), 0, 0)
    uses.observe({M: (1, Activity(-1e9))}, set(), 10, 10)
    assert uses.idle_s(M, 12) == 2
    uses.observe({}, set(), 20, 20)
    assert uses.last == {}


def test_to_become_ready_is_a_use() -> None:
    assert seen((0, 1, False), (100, 1, True), (105, 1, True)).idle_s(M, 110) == 10
    assert seen((0, 1, True), (100, 1, False), (105, 1, False)).idle_s(M, 110) == 110


def test_what_answers_is_evictable_soon_and_what_is_waited_for_later() -> None:
    assert not seen((0, 1, True)).evictable(M, RECENT_S - 1)
    assert seen((0, 1, True)).evictable(M, RECENT_S)
    assert not seen((0, 1, False)).evictable(M, WAIT_S - 1)
    assert seen((0, 1, False)).evictable(M, WAIT_S)


def test_when_it_ends_by_itself() -> None:
    idle = deployment("m", on_demand=True, idle_s=30)
    assert seen((0, 1, True)).expired(idle, True, 29) == ""
    assert seen((0, 1, True)).expired(idle, True, 30) == "it was not called for 30 s"
    assert seen((0, 1, True)).expired(deployment("m", on_demand=True), True, 1e6) == ""
    assert seen((0, 1, True)).expired(deployment("m", idle_s=1), True, RECENT_S - 1) == ""
    assert seen((0, 1, False)).expired(idle, True, WAIT_S - 1) == ""
    assert seen((0, 1, False)).expired(idle, True, WAIT_S) != ""
    assert "could not be placed" in seen((0, 1, False)).expired(deployment("m"), False, WAIT_S)


def waiting(model: str, gib: int, *workers: str, replicas: int = 1) -> Replicas:
    wanted = deployment(model, replicas, gib, on=on(*workers))
    return Replicas(key(model), wanted, need_of(wanted), without_room=replicas)


class Room:
    """Workers, and on-demand models on them: (model, idle, {worker: GiB})."""

    def __init__(self, workers: list[Worker], *held: tuple[str, float, dict[str, int]]) -> None:
        self.load = Load({w.id: w for w in workers})
        self.candidates = [
            Candidate(key(model), idle_s, {w: Need(memory_bytes=gib * GIB) for w, gib in where.items()})
            for model, idle_s, where in held
        ]
        for candidate in self.candidates:
            for name, need in candidate.reserved.items():
                self.load.add(name, need)

    def evicted(self, *those: Replicas, conditions: Conditions | None = None) -> dict[ModelVersion, ModelVersion]:
        evictions = Evictions(self.candidates, self.load, conditions or Conditions())
        evictions.choose(those)
        return evictions.gone


def test_the_longest_idle_goes_and_the_reason_is_for_whom() -> None:
    room = Room([worker("a", 4), worker("b", 4)], ("x", 50, {"a": 4}), ("y", 90, {"b": 4}))
    assert room.evicted(waiting("new", 4)) == {key("y"): key("new")}


def test_a_set_is_as_recent_as_its_most_recent() -> None:
    held = (("old", 100, {"a": 2}), ("young", 10, {"a": 2}), ("middle", 50, {"b": 4}))
    assert room_of(*held).evicted(waiting("new", 4)) == {key("middle"): key("new")}


def room_of(*held: tuple[str, float, dict[str, int]]) -> Room:
    return Room([worker("a", 4), worker("b", 4)], *held)


def test_what_can_be_spared_is_spared() -> None:
    room = room_of(("small", 100, {"a": 1}), ("large", 50, {"a": 3}), ("other", 10, {"b": 4}))
    assert room.evicted(waiting("new", 3)) == {key("large"): key("new")}


def test_nobody_goes_where_it_does_not_help_or_where_it_may_not_be() -> None:
    room = room_of(("x", 50, {"a": 2}))
    room.load.add("a", Need(memory_bytes=2 * GIB))  # not on demand
    room.load.add("b", Need(memory_bytes=4 * GIB))
    assert room.evicted(waiting("new", 3)) == {}
    room = room_of(("x", 50, {"a": 4}), ("y", 90, {"b": 4}))
    assert room.evicted(waiting("new", 4, "a")) == {key("x"): key("new")}
    room = room_of(("x", 50, {"a": 4}), ("y", 90, {"b": 4}))
    avoided = Conditions(avoided={(key("new"), "b")})
    assert room.evicted(waiting("new", 4), conditions=avoided) == {key("x"): key("new")}
    assert Room([worker("a", 4, draining=True)], ("x", 50, {"a": 4})).evicted(waiting("new", 4)) == {}


def test_room_that_is_on_its_way_is_promised_once() -> None:
    room = room_of(("x", 50, {"b": 4}))  # a is free, or will be
    assert room.evicted(waiting("one", 4)) == {}
    room = room_of(("x", 50, {"b": 4}))
    assert room.evicted(waiting("one", 4), waiting("two", 4)) == {key("x"): key("two")}


def test_one_eviction_may_serve_two_and_replicas_go_together() -> None:
    room = room_of(("x", 50, {"a": 4, "b": 4}))
    assert room.evicted(waiting("one", 4), waiting("two", 4)) == {key("x"): key("one")}
    room = room_of(("x", 50, {"a": 4}), ("y", 90, {"b": 4}))
    assert set(room.evicted(waiting("new", 4, replicas=2))) == {key("x"), key("y")}
