"""Plan, queue, poison and harvest together, on the queue in memory, with workers that die."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.codec import decode, encode
from modelyard.jobs.harvest import Harvest, harvest
from modelyard.jobs.planning import Pace, Plan, extend
from modelyard.jobs.poison import Step, Verdict, after, before, retry_policy
from modelyard.jobs.tasks import Outcome, StoredPiece, TaskSpec, check_parts
from modelyard.queue import Claim, Idle, Job, Task
from modelyard.queue.memory import MemoryQueue
from modelyard.queue.records import Caps
from tests.unit.jobs.submitted import SPEC

JOB, MODEL, WORKER = "job-1", "digits@1", "w"


@dataclass
class Run:
    """One job with rows that raise and rows that kill; each of `deaths`: at which fetch a worker dies by itself."""

    rows: int
    raising: set[int]
    killing: set[int]
    deaths: set[int]
    now_s: float = 0.0
    fetches: int = 0
    executed: Counter[int] = field(default_factory=Counter)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)

    async def run(self) -> Harvest:
        """Until all rows have ended."""
        self.queue = MemoryQueue(lambda: self.now_s, lambda: 1.0)
        await self.queue.open(Job(JOB, MODEL, "default", SPEC.priority, retry_policy(SPEC)))
        plan = Plan(self.rows)
        for _ in range(5000):
            plan = extend(plan, Pace(0.05 if self.fetches > 3 else 0.0, 2), 2)
            found = harvest(plan, self.outcomes, self.dead)
            if plan.whole and not found.open:
                return found
            await self.queue.enqueue(JOB, [Task(task.id) for task in found.open], Caps())
            await self.work()
            await self.look(found)
        raise AssertionError("it does not end")

    async def work(self) -> None:
        """Fetch and do one task."""
        claim = await self.queue.fetch(WORKER, [MODEL])
        if isinstance(claim, Idle):
            self.now_s += claim.due_s or 0.0
            return
        self.fetches += 1
        task = TaskSpec.parse(claim.task)
        verdict = before(task, claim.deaths, SPEC.max_attempts)
        if verdict.step is Step.EXECUTE:
            await self.execute(claim, task)
        else:
            await self.end(claim, task, verdict)

    async def execute(self, claim: Claim, task: TaskSpec) -> None:
        rows = set(range(task.begin, task.end))
        self.executed.update(rows)
        if rows & self.killing or self.fetches in self.deaths:
            await self.queue.recover_from(WORKER)
        elif rows & self.raising:
            verdict = after(task, claim.failures, SPEC.max_attempts, rows & self.raising)
            await self.end(claim, task, verdict)
        else:
            pieces = (StoredPiece("", task.rows, 1, ("ab" * 32,)),)
            assert await self.queue.finish(claim, encode(Outcome(1.0, WORKER, pieces)))

    async def end(self, claim: Claim, task: TaskSpec, verdict: Verdict) -> None:
        if verdict.step is Step.SPLIT:
            check_parts(task, verdict.parts)
            assert await self.queue.finish(claim, encode(Outcome(1.0, WORKER, parts=verdict.parts, reason="it failed")))
            return
        failed = await self.queue.fail(claim, f"rows {task.begin} to {task.end}", retryable=verdict.step is Step.RETRY)
        assert failed.ending == ("retry" if verdict.step is Step.RETRY else "dead")

    async def look(self, found: Harvest) -> None:
        """What the queue says of those that were open."""
        for status in await self.queue.tasks(JOB, [task.id for task in found.open]):
            if status and status.state == "done":
                self.outcomes[status.task] = decode(Outcome, status.result)
            if status and status.state == "dead":
                self.dead.add(status.task)


@settings(max_examples=60, deadline=None)
@given(st.data())
async def test_all_rows_end_and_only_those_at_fault_are_given_up(data: st.DataObject) -> None:
    rows = data.draw(st.integers(0, 300))
    some = st.sets(st.integers(0, max(rows - 1, 0)), max_size=3 if rows else 0)
    raising, killing = data.draw(some), data.draw(some)
    # Fewer than a row has attempts, so that nobody is given up who is only unlucky.
    deaths = data.draw(st.sets(st.integers(1, 12), max_size=SPEC.max_attempts - 1))
    run = Run(rows, raising, killing, deaths)
    found = await run.run()
    assert [task.row for task in found.dead] == sorted(raising | killing)
    assert found.rows == rows - len(raising | killing)
    counts = (await run.queue.job(JOB)).counts
    assert (counts.queued, counts.in_flight, counts.dead) == (0, 0, len(raising | killing))
    assert {letter.task for letter in await run.queue.dead_letters(JOB)} == {task.id for task in found.dead}
    # A killer among 64 rows is found by halves; that costs its neighbours some attempts, not many.
    assert max(run.executed.values(), default=0) <= 30


async def test_a_dead_row_that_is_retried_gets_its_result() -> None:
    run = Run(100, {17}, set(), set())
    found = await run.run()
    (dead,) = found.dead
    run.raising.clear()
    await run.queue.retry_dead(JOB, dead.id)
    run.dead.clear()
    await run.work()
    await run.look(harvest(extend(Plan(100), Pace(0.0, 2), 2), run.outcomes, run.dead))
    again = harvest(extend(Plan(100), Pace(0.0, 2), 2), run.outcomes, run.dead)
    assert again.rows == 100
    assert [piece.rows for piece in again.pieces()] == [17, 1, 32, 50]
