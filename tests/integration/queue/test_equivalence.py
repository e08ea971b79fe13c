"""The same random operations on Redis and in memory: they answer alike, and stand alike after each."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from modelyard.errors import ModelyardError
from modelyard.queue import Caps, Claim, Idle, Job, Listed, RetryPolicy, Task, Written
from modelyard.queue.memory import MemoryQueue
from modelyard.redis import Redis
from tests.queues import LEASE_S, AgedMemory, AgedRedis, keys_of
from tests.servers import ProgramServer

MODELS = ("m@1", "n@1")
JOBS = {
    job.id: job
    for job in (
        Job("a", "m@1", "t", 2, RetryPolicy(2, 2, 1000, 5000)),
        Job("b", "m@1", "t", 7, RetryPolicy(3, 3, 1000, 5000)),
        Job("c", "m@1", "u", 2, RetryPolicy(2, 3, 700, 5000)),
        Job("d", "n@1", "u", 2, RetryPolicy(1, 1, 1000, 5000)),
    )
}
TASKS = tuple("0123")
WORKERS = ("w", "v", "x")
jobs, tasks, workers = st.sampled_from(list(JOBS)), st.sampled_from(TASKS), st.sampled_from(WORKERS)
epochs = st.sampled_from([0, 0, 0, 3, 4])
Pair = tuple[Claim, Claim]


def bare(value: Any) -> Any:
    """What must be alike: not the tokens, the names of entries, nor what Redis's clock adds."""
    if isinstance(value, Claim):
        return replace(value, entry="", token="", waited_s=0)
    if isinstance(value, Idle):
        return Idle(None if value.due_s is None else round(value.due_s / 30))
    if isinstance(value, list) and value and isinstance(value[0], Listed):
        return [one.job for one in value]
    if isinstance(value, list) and value and isinstance(value[0], str):
        return sorted(value)  # of one time, in either order
    if isinstance(value, ModelyardError):
        return type(value), str(value)
    return value


class Machine(RuleBasedStateMachine):
    """Both queues, side by side."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.drawn = 0
        self.pairs: list[Pair] = []
        self.both: list[Any] = []
        self.do(self.begin(address))

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    def part_of_delay(self) -> float:
        """The same for both, another for each delay, so that none are due together."""
        return 0.5 + self.drawn * 0.618034 % 0.5

    async def begin(self, address: str) -> None:
        self.redis = Redis(address)
        await self.redis.command("FLUSHALL")
        stored, held = AgedRedis(self.redis), AgedMemory()
        held.queue = MemoryQueue(lambda: held.now_s, self.part_of_delay)
        self.both = [stored, held]
        for aged in self.both:
            for job in JOBS.values():
                await aged.queue.submit(job, Written(b"new", "A"), Caps())

    def teardown(self) -> None:
        for job in JOBS:
            self.ask("delete", job)
        left = self.do(keys_of(self.redis))
        self.do(self.redis.close())
        self.runner.close()
        assert {key for key in left if not key.endswith(("sweep", "weights", "reply:"))} == set()

    def ask(self, name: str, *arguments: Any, **options: Any) -> list[Any]:
        """Call both; what they answer, or raise, must be alike."""
        answers = []
        for aged in self.both:
            try:
                answers.append(self.do(getattr(aged.queue, name)(*arguments, **options)))
            except ModelyardError as error:
                answers.append(error)
        first, second = [bare(answer) for answer in answers]
        assert first == second, f"{name}{arguments}"
        return answers

    def ask_each(self, name: str, pair: Pair, *arguments: Any, **options: Any) -> None:
        """Call each with its own claim."""
        self.drawn += 1
        calls = [
            getattr(aged.queue, name)(claim, *arguments, **options) for aged, claim in zip(self.both, pair, strict=True)
        ]
        first, second = [self.do(call) for call in calls]
        assert getattr(first, "ending", first) == getattr(second, "ending", second)
        assert getattr(first, "delay_s", 0) == pytest.approx(getattr(second, "delay_s", 0), abs=0.01)

    def compare(self) -> None:
        """They stand alike."""
        for job in JOBS:
            self.ask("job", job)
            self.ask("record", job)
            self.ask("tasks", job, TASKS)
            self.ask("ended", job, 1, 20)
            events, letters, running = (self.look(name, job) for name in ("events", "dead_letters", "running"))
            assert events[0] == events[1]
            assert letters[0] == letters[1]
            assert running[0] == running[1]
        for name, *what in (("active",), ("expire",), ("records", list(JOBS)), ("listed",), ("listed", "t", 0, 1)):
            self.ask(name, *what)
        depths = [[replace(depth, oldest_s=0) for depth in self.do(aged.queue.depths())] for aged in self.both]
        assert depths[0] == depths[1]

    def look(self, name: str, job: str) -> list[Any]:
        """What has no place or time of its own."""
        first: Any = {"running": (100,), "events": (0,), "dead_letters": ()}[name]
        answers = [self.do(getattr(aged.queue, name)(job, *first)) for aged in self.both]
        if name == "events":
            return [[replace(event, at_s=0) for event in found] for found in answers]
        if name == "dead_letters":
            return [[replace(letter, letter="") for letter in found] for found in answers]
        return [{(one.task, one.attempts, one.workers) for one in found} for found in answers]

    @initialize(weight=st.sampled_from([1, 2, 0.5]))
    def weigh(self, weight: float) -> None:
        self.ask("set_weight", "u", weight)
        for job in JOBS:
            self.ask("enqueue", job, [Task(task, cost=1 + int(task)) for task in TASKS[:3]], Caps())

    @rule(
        job=jobs,
        some=st.lists(tasks, max_size=4),
        cap=st.sampled_from([3, 8, 100]),
        in_flight=st.sampled_from([1, 2, 100]),
        dedupe=st.sampled_from(["", "k"]),
        epoch=epochs,
    )
    def enqueue(self, job: str, some: list[str], cap: int, in_flight: int, dedupe: str, epoch: int) -> None:
        listed = [Task(task, task.encode(), dedupe=dedupe, cost=1 + int(task)) for task in some]
        self.ask("enqueue", job, listed, Caps(cap, in_flight, cap), epoch)
        self.compare()

    @rule(worker=workers, models=st.permutations(MODELS), slot=st.integers(0, 1))
    def fetch(self, worker: str, models: Sequence[str], slot: int) -> None:
        first, second = self.ask("fetch", worker, models, slot)
        if isinstance(first, Claim):
            self.pairs.append((first, second))
        self.compare()

    @precondition(lambda self: self.pairs)
    @rule(data=st.data(), end=st.sampled_from(["finish", "finish", "fail", "give up", "release"]))
    def end(self, data: st.DataObject, end: str) -> None:
        pair = data.draw(st.sampled_from(self.pairs[-6:]))
        if end == "finish":
            self.ask_each("finish", pair, b"ref")
        elif end == "release":
            self.ask_each("release", pair)
        else:
            self.ask_each("fail", pair, "odd", retryable=end == "fail")
        self.compare()

    @rule(worker=workers, beats=st.booleans(), part=st.sampled_from([0.4, 0.4, 0.8, 1.4]))
    def pass_time(self, worker: str, beats: bool, part: float) -> None:
        for number, aged in enumerate(self.both):
            self.do(aged.advance(part * LEASE_S))
            if beats:
                self.do(aged.queue.extend(worker, [pair[number] for pair in self.pairs]))
        found = [sorted(map(repr, self.do(aged.queue.recover(LEASE_S)))) for aged in self.both]
        assert found[0] == found[1]
        self.compare()

    @precondition(lambda self: self.pairs)
    @rule(data=st.data())
    def lose_one(self, data: st.DataObject) -> None:
        pair = data.draw(st.sampled_from(self.pairs[-6:]))
        found = [self.do(aged.queue.lost(claim)) for aged, claim in zip(self.both, pair, strict=True)]
        assert found[0] == found[1]
        self.compare()

    @rule(worker=workers)
    def lose(self, worker: str) -> None:
        found = [sorted(map(repr, self.do(aged.queue.recover_from(worker)))) for aged in self.both]
        assert found[0] == found[1]
        self.compare()

    @rule(job=jobs, task=tasks, what=st.sampled_from(["speculate", "speculate", "retry_dead"]), epoch=epochs)
    def again(self, job: str, task: str, what: str, epoch: int) -> None:
        self.ask(what, job, task, epoch)
        self.compare()

    @rule(job=jobs, change=st.sampled_from(["pause", "pause", "resume", "resume", "resume", "cancel", "clear"]))
    def change(self, job: str, change: str) -> None:
        self.ask(change, job)
        self.compare()

    @rule(
        job=jobs,
        back=st.integers(0, 1),
        phase=st.sampled_from(["A", "A", "B"]),
        plan=st.sampled_from([None, b"p", b"q"]),
        keep_s=st.sampled_from([None, None, 0.3 * LEASE_S, 3 * LEASE_S]),
        epoch=epochs,
    )
    def write(self, job: str, back: int, phase: str, plan: bytes | None, keep_s: float | None, epoch: int) -> None:
        revision = self.do(self.both[0].queue.record(job)).revision
        self.ask("change", job, Written(phase.encode(), phase, plan, keep_s), revision - back, epoch)
        self.compare()

    @rule(job=jobs)
    def delete(self, job: str) -> None:
        self.ask("delete", job)
        for cap in (3, 9):
            self.ask("submit", JOBS[job], Written(b"new", "A"), Caps(jobs=cap))
        self.compare()


@pytest.mark.parametrize(
    ("examples", "steps"), [(6, 30), pytest.param(100, 50, marks=[pytest.mark.chaos, pytest.mark.timeout(1800)])]
)
def test_redis_and_memory_are_the_same_queue(
    redis_server: ProgramServer, monkeypatch: pytest.MonkeyPatch, examples: int, steps: int
) -> None:
    def new() -> Machine:
        machine = Machine(redis_server.endpoint)
        monkeypatch.setattr("modelyard.queue.redis_claims.jitter", machine.part_of_delay)
        return machine

    options = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # to make a failure shorter takes minutes
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(new, settings=options)  # type: ignore[arg-type]
