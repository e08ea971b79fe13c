"""What becomes of claims: with the queue's twin in memory, and reader processes that do as they are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.jobs.tasks import Outcome, TaskSpec
from modelyard.metrics import families
from modelyard.queue import Counts
from modelyard.queue.memory import MemoryQueue
from modelyard_worker.jobs import leases, puller, site
from tests.fake_reader import PIECE, SECONDS
from tests.pulling import TENANT, WORKER, Worker, counted, counts, outcome, status, submit
from tests.waiting import eventually


async def test_tasks_are_executed_and_finished_with_their_pieces(worker: Worker, queue: MemoryQueue) -> None:
    worker.admit()
    tasks = ["r0-4", "r4-10", "r10-12"]
    await submit(queue, "execute", tasks)
    await counted(worker, "done", 3)
    for name in tasks:
        done = await outcome(queue, name)
        assert done is not None
        assert (done.worker, done.seconds, done.pieces[0].rows) == (WORKER, SECONDS, TaskSpec.parse(name).rows)
        assert done.pieces[0].chunks == PIECE.chunks
    assert worker.counted(families.JOB_ROWS) == {TENANT: 12}
    assert worker.counted(families.JOB_COMPUTE) == {TENANT: 3 * SECONDS}
    assert worker.counted(families.TASK_QUEUE) == worker.counted(families.TASK) == {TENANT: 3}
    assert worker.orders == ["registries r0:1", *(f"begin {name} at a:1" for name in tasks)]


pytestmark = pytest.mark.usefixtures("impatient")


async def test_an_instance_that_comes_while_another_waits_is_served(worker: Worker, queue: MemoryQueue) -> None:
    worker.admit("idle")
    await eventually(lambda: worker.puller.asked == {"idle@1"})
    await submit(queue, "execute")
    worker.admit()
    await eventually(lambda: outcome(queue))


async def test_two_claims_an_instance_at_most_and_full_ones_do_not_hold_up_others(
    worker: Worker, queue: MemoryQueue
) -> None:
    worker.admit()
    worker.admit("other")
    await submit(queue, "wait", ["r0-1", "r1-2", "r2-3"])
    await eventually(lambda: len(worker.orders) == 3)
    await submit(queue, "execute", job="k", model="other")
    await eventually(lambda: outcome(queue, job="k"))
    assert await counts(queue) == Counts(queued=1, in_flight=2)


async def test_a_model_that_raises_is_tried_again_later(worker: Worker, queue: MemoryQueue) -> None:
    worker.admit()
    await submit(queue, "raise")
    await counted(worker, "retry")
    found = await status(queue)
    assert (found.state, found.failures, found.deaths, found.reason) == ("open", 1, 0, "below 0")


async def test_rows_that_cannot_be_read_are_set_apart_at_once(worker: Worker, queue: MemoryQueue) -> None:
    worker.admit()
    await submit(queue, "malformed")
    await counted(worker, "split")
    parts = (TaskSpec(0, 2), TaskSpec(2, 3), TaskSpec(3, 4))
    assert await outcome(queue) == Outcome(0.0, WORKER, parts=parts, reason="row 2: no number")
    assert worker.counted(families.JOB_ROWS) == {}


async def test_a_row_that_is_alone_and_cannot_be_read_is_a_dead_letter(worker: Worker, queue: MemoryQueue) -> None:
    worker.admit()
    await submit(queue, "malformed", ["r2-3"])
    await counted(worker, "dead")
    assert [(letter.task, letter.reason) for letter in await queue.dead_letters("j")] == [("r2-3", "row 2: no number")]


async def test_results_that_cannot_be_named_are_those_of_too_many_rows(worker: Worker, queue: MemoryQueue) -> None:
    worker.admit()
    await submit(queue, "many-chunks")
    await counted(worker, "split")
    found = await outcome(queue)
    assert found is not None
    assert [part.id for part in found.parts] == ["r0-2s", "r2-4s"]


async def test_what_could_not_be_begun_is_handed_back_and_comes_again(worker: Worker, queue: MemoryQueue) -> None:
    admitted = worker.admit()
    await submit(queue, "undone")
    await counted(worker, "released", 2)
    found = await status(queue)
    assert (found.state, found.failures, found.deaths) == ("open", 0, 0)
    assert not admitted.runner.is_killed


async def test_an_instance_that_can_begin_nothing_pauses_and_others_go_on(
    worker: Worker, queue: MemoryQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site, "FIRST_PAUSE_S", 1000.0)
    worker.admit()
    worker.admit("other")
    await submit(queue, "undone")
    await counted(worker, "released")
    await submit(queue, "execute", job="k", model="other")
    await eventually(lambda: outcome(queue, job="k"))
    assert worker.counted(families.TASKS)[*TENANT, "released"] == 1


async def test_a_task_of_a_job_that_has_ended_is_handed_back(worker: Worker, queue: MemoryQueue) -> None:
    await submit(queue, "execute", planned=False)
    worker.admit()
    await counted(worker, "released")
    assert (await status(queue)).state == "open"
    assert worker.orders == []


async def test_a_claim_that_is_somebody_elses_is_dropped(tmp_path: Path, queue: MemoryQueue) -> None:
    async with Worker(tmp_path, queue, extend_s=0.02) as worker:
        worker.admit()
        await submit(queue, "wait")
        await eventually(lambda: len(worker.orders) == 2)
        await queue.cancel("j")
        await counted(worker, "stale")
        await eventually(lambda: worker.orders[-1] == "drop")
        assert (await status(queue)).state == "cancelled"


async def test_a_silent_runner_gets_no_claims_and_loses_those_that_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    queue = MemoryQueue(lambda: clock[0])
    monkeypatch.setattr(leases, "LOOK_S", 0.02)
    monkeypatch.setattr(puller, "WAIT_S", 0.02)
    async with Worker(tmp_path, queue, extend_s=0.02) as worker:
        beating, silent = worker.admit(), worker.admit("other")
        await submit(queue, "wait")
        await submit(queue, "wait", job="k", model="other")
        await eventually(lambda: len([order for order in worker.orders if order.startswith("begin")]) == 2)
        silent.runner.silent_s = 3.0
        for _ in range(4):
            clock[0] += 5.0
            await eventually(lambda: queue.jobs["j"].tasks["r0-4"].entries[1].extended_s == clock[0])
            recovered = await queue.recover(leases.LEASE_S)
        assert [one.job for one in recovered] == ["k"]
        await eventually(lambda: counts(queue, "k"))
        assert await counts(queue, "k") == Counts(queued=1)
        silent.runner.silent_s = 0.0
        await eventually(lambda: "begin r0-4 at a:1 by 1" in worker.orders)
        assert not beating.runner.is_killed


async def test_an_instance_that_goes_hands_back_what_is_not_done(worker: Worker, queue: MemoryQueue) -> None:
    admitted = worker.admit()
    await submit(queue, "wait", ["r0-1", "r1-2"])
    await eventually(lambda: len(worker.orders) == 3)
    await admitted.leave()
    assert await counts(queue) == Counts(queued=2)
    found = await status(queue, "r0-1")
    assert (found.failures, found.deaths) == (0, 0)
    assert worker.counted(families.TASKS) == {(*TENANT, "released"): 2}
    assert not admitted.runner.is_killed


async def test_an_instance_that_goes_lets_tasks_end_that_are_nearly_done(
    worker: Worker, queue: MemoryQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site, "GRACE_S", 30.0)
    admitted = worker.admit()
    await submit(queue, f"wait-for {tmp_path / 'go'}")
    await eventually(lambda: len(worker.orders) == 2)
    (tmp_path / "go").touch()
    await admitted.leave()
    assert await outcome(queue)


async def test_a_worker_that_drains_fetches_nothing_and_goes_on_with_what_it_has(
    worker: Worker, queue: MemoryQueue, tmp_path: Path
) -> None:
    worker.admit()
    await submit(queue, f"wait-for {tmp_path / 'go'}")
    await eventually(lambda: len(worker.orders) == 2)
    worker.puller.drain()
    await submit(queue, "execute", job="k")
    (tmp_path / "go").touch()
    await eventually(lambda: outcome(queue))
    assert await counts(queue, "k") == Counts(queued=1)


async def test_readers_know_the_registries_that_are_live(worker: Worker, queue: MemoryQueue) -> None:
    worker.admit()
    await submit(queue, "execute")
    await eventually(lambda: outcome(queue))
    worker.registries = ["r0:1", "r1:1"]
    worker.puller.announce()
    await eventually(lambda: worker.orders[-1] == "registries r0:1,r1:1")


async def test_a_reader_that_is_idle_ends_and_the_next_task_starts_another(tmp_path: Path, queue: MemoryQueue) -> None:
    async with Worker(tmp_path, queue, idle_s=0.01) as worker:
        worker.admit()
        await submit(queue, "execute")
        await eventually(lambda: outcome(queue))
        await eventually(lambda: not worker.readers())
        await submit(queue, "execute", job="k")
        await eventually(lambda: outcome(queue, job="k"))
        assert worker.orders.count("registries r0:1") == 2


async def test_tenants_beyond_a_number_share_a_name(
    worker: Worker, queue: MemoryQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelyard_worker.jobs.usage.TENANTS", 0)
    worker.admit()
    await submit(queue, "execute")
    await eventually(lambda: worker.counted(families.JOB_ROWS) == {("", "m", "1"): 4})
