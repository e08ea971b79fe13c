from __future__ import annotations

from collections import Counter

import pytest

from modelyard.errors import InvalidInputError
from modelyard.queue import Claim, Job, Task, TaskQueue
from tests.queues import CAPS, MODEL, claimed, opened


async def test_priorities_count_within_a_tenant_and_age_within_a_priority(queue: TaskQueue) -> None:
    for job, priority in (("late", 9), ("first", 0), ("second", 5)):
        await opened(queue, job, 2, "t", priority)
    order = [(claim.job, claim.task) for claim in [await claimed(queue) for _ in range(6)]]
    assert order == [(job, task) for job in ("first", "second", "late") for task in "01"]


async def test_equal_tenants_take_turns_whatever_they_have_queued(queue: TaskQueue) -> None:
    await opened(queue, "big", 40, "a", priority=0)
    await opened(queue, "small", 4, "b", priority=9)
    taken = [(await claimed(queue, f"w{number % 3}")).tenant for number in range(8)]
    assert Counter(taken) == {"a": 4, "b": 4}


async def test_weights_and_costs_divide_the_turns(queue: TaskQueue) -> None:
    await queue.set_weight("heavy", 3)
    for tenant, cost in (("heavy", 1), ("light", 1), ("dear", 4)):
        await queue.open(Job(tenant, MODEL, tenant))
        await queue.enqueue(tenant, [Task(str(number), cost=cost) for number in range(60)], CAPS)
    taken = Counter([(await claimed(queue)).tenant for _ in range(68)])
    assert taken == {"heavy": 48, "light": 16, "dear": 4}


async def test_a_tenant_that_comes_back_has_saved_nothing_up_and_lost_nothing(queue: TaskQueue) -> None:
    await opened(queue, "big", 30, "a")
    for _ in range(10):
        await claimed(queue)
    await opened(queue, "small", 10, "b")
    assert Counter([(await claimed(queue)).tenant for _ in range(10)]) == {"a": 5, "b": 5}


async def test_a_tenant_with_one_task_at_a_time_gets_no_more_than_its_share(queue: TaskQueue) -> None:
    await opened(queue, "big", 30, "b")
    await opened(queue, "drop", 0, "a")
    taken = []
    for number in range(20):
        await queue.enqueue("drop", [Task(str(number))], CAPS)
        taken.append((await claimed(queue)).tenant)
    assert abs(taken.count("a") - taken.count("b")) <= 1


async def models_served(queue: TaskQueue, models: list[str], number: int, worker: str = "w") -> str:
    """The first letters of the models that a worker is served, in order."""
    claims = [await queue.fetch(worker, models) for _ in range(number)]
    return "".join(claim.model[0] if isinstance(claim, Claim) else "-" for claim in claims)


async def with_models(queue: TaskQueue, **tasks: int) -> None:
    """Queue so many tasks of each model."""
    for model, number in tasks.items():
        await queue.open(Job(model, f"{model}@1", "t"))
        await queue.enqueue(model, [Task(str(task)) for task in range(number)], CAPS)


async def test_models_take_turns_and_begin_in_the_order_given(queue: TaskQueue) -> None:
    await with_models(queue, a=9, b=9, c=2)
    assert await models_served(queue, ["b@1", "a@1", "c@1"], 9) == "bacbacbab"


async def test_a_model_that_others_serve_waits_for_one_that_nobody_does(queue: TaskQueue) -> None:
    await with_models(queue, a=9, b=9)
    assert await models_served(queue, ["a@1"], 3, "only") == "aaa"
    assert await models_served(queue, ["a@1", "b@1"], 1) == "b"
    assert await models_served(queue, ["a@1"], 1, "only") == "a"
    assert await models_served(queue, ["a@1", "b@1"], 2) == "ba"


async def test_a_ring_for_one_model_is_rung_again_by_who_was_given_another(queue: TaskQueue) -> None:
    await with_models(queue, a=1, b=1)
    assert await queue.wait(["a@1", "b@1"], 20)
    assert await models_served(queue, ["b@1", "a@1"], 1) == "b"
    assert await queue.wait(["a@1"], 0.01)
    assert await models_served(queue, ["b@1", "a@1"], 1) == "a"
    assert not await queue.wait(["b@1", "a@1"], 0.01)


async def test_a_model_with_one_task_at_a_time_does_not_hold_up_a_busy_one(queue: TaskQueue) -> None:
    await with_models(queue, a=20, b=0)
    served = ""
    for number in range(10):
        await queue.enqueue("b", [Task(str(number))], CAPS)
        claim = await queue.fetch("w", ["b@1", "a@1"])
        assert isinstance(claim, Claim)
        await queue.finish(claim, b"")
        served += claim.model[0]
    assert served == "ba" * 5


@pytest.mark.parametrize("weight", [0, -1, float("inf"), float("nan")])
async def test_a_weight_is_a_number_above_zero(queue: TaskQueue, weight: float) -> None:
    with pytest.raises(InvalidInputError):
        await queue.set_weight("t", weight)
