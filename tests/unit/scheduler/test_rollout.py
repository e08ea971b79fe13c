from __future__ import annotations

from modelyard.catalogue import Resources
from modelyard.deployment import Deployment, Instance, InstanceOptions, InstanceState, Placement
from modelyard_scheduler.rollout import as_wanted, due, is_outdated, placement_of, ready_replicas
from tests.unit.scheduler.simulation import FAILED, READY, deployment

OLD, NEW = InstanceOptions(), InstanceOptions(threads=2)
BEFORE, WANTED = deployment("m", 3), deployment("m", 3, options=NEW)


def placed(**options: InstanceOptions) -> list[Placement]:
    return [placement_of(WANTED if chosen == NEW else BEFORE, w) for w, chosen in options.items()]


def answering(state: InstanceState = READY, **options: InstanceOptions) -> dict[str, Instance]:
    return {w: Instance("m", "1", w, state, "why", options=chosen) for w, chosen in options.items()}


def changed(held: list[Placement], instances: dict[str, Instance], *fixed: str) -> list[str]:
    return [p.worker for p in due(WANTED, held, instances, fixed)]


def test_one_at_a_time_while_all_answer() -> None:
    assert changed(placed(a=OLD, b=OLD, c=OLD), answering(a=OLD, b=OLD, c=OLD)) == ["a"]
    assert changed(placed(a=NEW, b=OLD, c=OLD), answering(a=OLD, b=OLD, c=OLD)) == []
    assert changed(placed(a=NEW, b=OLD, c=OLD), answering(a=NEW, b=OLD, c=OLD)) == ["b"]
    assert changed(placed(a=NEW, b=NEW, c=NEW), answering(a=NEW, b=NEW, c=OLD)) == []


def test_those_that_do_not_answer_are_changed_at_once_and_waited_for() -> None:
    assert changed(placed(a=OLD, b=OLD, c=OLD), answering(a=OLD)) == ["b", "c"]
    assert changed(placed(a=OLD, b=NEW, c=NEW), answering(a=OLD)) == []
    assert changed(placed(a=OLD, b=OLD), answering(FAILED, a=OLD, b=OLD)) == ["a", "b"]


def test_what_is_away_or_to_be_left_is_not_changed_but_waited_for() -> None:
    assert changed(placed(a=OLD, b=OLD), answering(a=OLD, b=OLD), "a") == ["b"]
    assert changed(placed(a=OLD, b=OLD), answering(b=OLD), "a") == []


def test_a_placement_is_outdated_by_what_the_worker_must_know() -> None:
    held = placement_of(BEFORE, "a")
    assert not is_outdated(held, BEFORE)
    assert not is_outdated(None, BEFORE)
    assert not is_outdated(held, deployment("m", 9, on_demand=True))
    assert is_outdated(held, WANTED)
    assert is_outdated(held, deployment("m", 3, gib=2))
    assert is_outdated(held, Deployment("m", "1", 3, Resources(memory_bytes=1 << 30), "e" * 64, "onnx"))


def test_ready_is_what_answers_as_it_is_wanted() -> None:
    instances = [*answering(a=NEW, b=OLD).values(), *answering(FAILED, c=NEW).values()]
    assert ready_replicas(WANTED, instances) == 1


def test_a_failure_with_the_options_of_before_is_not_the_new_ones() -> None:
    (failed,) = answering(FAILED, a=OLD).values()
    shown = as_wanted(failed, WANTED)
    assert (shown.state, shown.reason) == (
        InstanceState.LOADING,
        "to be loaded with other options; with those of before: why",
    )
    assert as_wanted(failed, BEFORE) == failed
    (ready,) = answering(a=OLD).values()
    assert as_wanted(ready, WANTED) == ready
