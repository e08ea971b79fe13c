"""Claims that somebody has died with: what becomes of them, and of the instance, its runner and its reader."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.queue import Claim, Counts
from modelyard.queue.memory import MemoryQueue
from modelyard_worker.jobs import reader_process
from tests.pulling import Worker, counted, counts, outcome, status, submit
from tests.waiting import eventually


async def killed(queue: MemoryQueue, times: int) -> None:
    """Have workers die of the task that is next."""
    for _ in range(times):
        assert isinstance(await queue.fetch("dead", ["m@1"]), Claim)
        await queue.recover_from("dead")


pytestmark = pytest.mark.usefixtures("impatient")


async def test_a_task_that_workers_died_of_is_halved_unread(worker: Worker, queue: MemoryQueue) -> None:
    await submit(queue, "execute")
    await killed(queue, 3)
    worker.admit()
    await counted(worker, "split")
    found = await outcome(queue)
    assert found is not None
    assert [part.id for part in found.parts] == ["r0-2s", "r2-4s"]
    assert worker.orders == []


async def test_a_row_that_workers_died_of_is_a_dead_letter(worker: Worker, queue: MemoryQueue) -> None:
    await submit(queue, "execute", ["r3-4"])
    await killed(queue, 3)
    worker.admit()
    await counted(worker, "dead")
    (letter,) = await queue.dead_letters("j")
    assert (letter.task, letter.deaths) == ("r3-4", 3)
    assert "lost, 3 times" in letter.reason


async def test_a_reader_that_dies_takes_its_claims_and_no_runner(worker: Worker, queue: MemoryQueue) -> None:
    admitted = worker.admit()
    await submit(queue, "crash", ["r3-4"], max_attempts=1)
    await counted(worker, "lost")
    await counted(worker, "dead")
    (letter,) = await queue.dead_letters("j")
    assert (letter.deaths, letter.failures) == (1, 1)
    assert not admitted.runner.is_killed
    await submit(queue, "execute", job="k")
    await eventually(lambda: outcome(queue, job="k"))


async def test_a_reader_that_is_stopped_is_replaced(
    worker: Worker, queue: MemoryQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_process, "SILENCE_S", 1.0)
    worker.admit()
    await submit(queue, "stop")
    await counted(worker, "lost")
    await queue.cancel("j")
    await submit(queue, "execute", job="k")
    await eventually(lambda: outcome(queue, job="k"))


async def test_a_reader_that_cannot_start_costs_no_task(tmp_path: Path, queue: MemoryQueue) -> None:
    async with Worker(tmp_path, queue, command=["false"]) as worker:
        worker.admit()
        await submit(queue, "execute")
        await counted(worker, "released", 2)
    found = await status(queue)
    assert (found.failures, found.deaths) == (0, 0)


async def test_a_runner_that_does_not_answer_is_killed_and_its_claim_is_a_death(
    worker: Worker, queue: MemoryQueue, caplog: pytest.LogCaptureFixture
) -> None:
    admitted = worker.admit()
    await submit(queue, "stuck", ["r0-1"])
    await counted(worker, "lost")
    assert admitted.runner.is_killed
    assert (await status(queue, "r0-1")).deaths >= 1
    (said,) = [record for record in caplog.records if record.message == "runner killed"]
    assert (said.__dict__["instance"], said.__dict__["others"]) == ("m@1", ["beside@1"])


async def test_what_a_runner_died_of_is_set_apart_and_executed_with_caution_and_alone(
    worker: Worker, queue: MemoryQueue, tmp_path: Path
) -> None:
    admitted = worker.admit()
    await submit(queue, "lost 100 300", ["r0-1000"])
    await counted(worker, "split")
    assert not admitted.runner.is_killed
    assert admitted.site.has_lost
    parts = ["r0-100", "r100-300s", "r300-1000"]
    found = await outcome(queue, "r0-1000")
    assert found is not None
    assert [part.id for part in found.parts] == parts
    await submit(queue, f"wait-for {tmp_path / 'go'}", parts, job="k")
    await eventually(lambda: len(worker.orders) == 3)
    await eventually(lambda: not admitted.site.is_free)
    assert await counts(queue, "k") == Counts(queued=1, in_flight=2)
    assert worker.orders[2:] == ["begin r0-100 at a:1"]
    (tmp_path / "go").touch()
    await eventually(lambda: outcome(queue, parts[-1], "k"))
    assert worker.orders[2:] == ["begin r0-100 at a:1", "begin r100-300s at a:1 by 4", "begin r300-1000 at a:1"]
    assert admitted.site.has_worked
    assert not admitted.site.has_lost


async def test_nothing_is_begun_beside_what_may_kill(worker: Worker, queue: MemoryQueue) -> None:
    admitted = worker.admit()
    await submit(queue, "wait", ["r0-2s", "r2-4"])
    await eventually(lambda: len(worker.orders) == 2)
    assert not admitted.site.is_free
    assert await counts(queue) == Counts(queued=1, in_flight=1)


async def test_a_task_that_others_were_lost_with_is_executed_with_caution(worker: Worker, queue: MemoryQueue) -> None:
    await submit(queue, "execute", ["r0-130"])
    await killed(queue, 1)
    worker.admit()
    await eventually(lambda: outcome(queue, "r0-130"))
    assert worker.orders[-1] == "begin r0-130 at a:1 by 3"


async def test_the_reader_of_a_runner_that_died_serves_the_next_one(worker: Worker, queue: MemoryQueue) -> None:
    admitted = worker.admit()
    await submit(queue, "lost 1 2", ["r0-4"])
    await counted(worker, "split")
    await admitted.leave()
    (reader,) = worker.readers()
    worker.registries = ["r1:1"]
    worker.admit(endpoint="b:1")
    await submit(queue, "execute", job="k")
    await eventually(lambda: outcome(queue, job="k"))
    assert worker.readers() == [reader]
    assert worker.orders[-2:] == ["registries r1:1", "begin r0-4 at b:1"]
