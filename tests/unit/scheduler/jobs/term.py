"""A leader's term without a cluster: the queue in memory, a real etcd, a clock that is set, workers that are told."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from modelyard import codec, keys
from modelyard.catalogue import CHUNK_SIZE_BYTES, Alias, Hold, Manifest, Model, Resources, Signature, Version
from modelyard.chunks import Chunk
from modelyard.deployment import Instance, InstanceState, Worker
from modelyard.errors import PASSING, AbortedError, NotFoundError, UnavailableError
from modelyard.etcd import Etcd
from modelyard.jobs import lifecycle
from modelyard.jobs.found import Found, Stored
from modelyard.jobs.harvest import Harvest, harvest
from modelyard.jobs.job import Job
from modelyard.jobs.planning import Plan
from modelyard.jobs.poison import Step, Verdict, after, before
from modelyard.jobs.tasks import Outcome, StoredPiece, TaskSpec
from modelyard.queue import Caps, Claim, Idle, RedisQueue
from modelyard.queue.memory import MemoryQueue
from modelyard.redis import Redis
from modelyard.session import Term
from modelyard_scheduler.jobs.leader.context import Backends, LeaderContext
from modelyard_scheduler.jobs.leader.expiry import Expiry
from modelyard_scheduler.jobs.leader.holds import JobHolds
from modelyard_scheduler.jobs.leader.loop import JobLoop
from modelyard_scheduler.jobs.leader.metrics import Figures
from modelyard_scheduler.jobs.leader.rounds import Rounds
from modelyard_scheduler.jobs.leader.supervision import Services, Supervision
from modelyard_scheduler.jobs.leader.wishes import Wishes
from modelyard_scheduler.jobs.outcomes import outcomes_of
from modelyard_scheduler.jobs.records import Held, Records
from modelyard_scheduler.state import State
from tests.unit.jobs.submitted import SPEC
from tests.waiting import eventually

MODEL = "digits@1"
EFFECTS = {"change", "enqueue", "pause", "resume", "cancel", "clear", "retry_dead", "speculate", "delete", "commit"}
EFFECTS |= {"store", "set_alias"}
VERSION = Version("digits", "1", "onnx", Signature(), Resources(), "d" * 64, 1000, etag="1")


class Leaving:
    """Whatever a leader does goes through this: after so many effects it is dead, and nothing it does has any.

    With `back` it only lost its connection: the answer of that effect never came, and it goes on.
    """

    def __init__(self, effects: int, *, back: bool = False) -> None:
        self.left = effects
        self.back = back
        self.done: list[str] = []
        self.asked: list[str] = []

    def through(self, to: Any) -> Any:
        return _Through(to, self)

    def note(self, effect: str) -> None:
        self.left -= 1
        self.done.append(effect)
        if self.left == 0 and self.back:
            raise UnavailableError(f"no answer to {effect}")
        if self.left <= 0 and not self.back:
            raise AbortedError(f"died after {effect}")


class _Through:
    def __init__(self, to: Any, leaving: Leaving) -> None:
        self._to = to
        self._leaving = leaving

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._to, name)
        if not inspect.iscoroutinefunction(method):
            return method

        async def call(*arguments: Any, **named: Any) -> Any:
            leaving = self._leaving
            if leaving.left <= 0 and not leaving.back:
                raise AbortedError("dead")
            leaving.asked.append(name)
            answer = await method(*arguments, **named)
            if name in EFFECTS:
                leaving.note(name)
            return answer

        return call


@dataclass
class Shelf:
    """An artifact store; `away`: the error that it answers with."""

    chunks: dict[str, bytes] = field(default_factory=dict)
    away: Exception | None = None

    async def store(self, content: bytes, size_bytes: int, *, tenant: str, upload: str) -> Stored:
        if self.away:
            raise self.away
        assert len(content) == size_bytes
        parts = [content[at : at + CHUNK_SIZE_BYTES] for at in range(0, size_bytes, CHUNK_SIZE_BYTES)]
        named = {hashlib.sha256(part).hexdigest(): part for part in parts}
        self.chunks |= named
        return Stored(size_bytes, tuple(named))

    async def pieces(self, chunks: Sequence[Chunk]) -> AsyncGenerator[bytes, None]:
        for chunk in chunks:
            if chunk.digest not in self.chunks:
                raise NotFoundError(f"no chunk {chunk.digest}")
            yield self.chunks[chunk.digest]


@dataclass
class Reader:
    """A planner: what it finds, or raises; while `hold` is there it waits for it."""

    rows: int = 1000
    error: Exception | None = None
    hold: asyncio.Event | None = None
    planned: list[str] = field(default_factory=list)

    async def plan(self, job: Job, signature: Signature) -> tuple[Found, Plan]:
        self.planned.append(job.id)
        if self.hold:
            await self.hold.wait()
        if self.error:
            raise self.error
        return Found(self.rows, ()), Plan(self.rows)


class Tracked(asyncio.TaskGroup):
    """A group whose tasks can be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks: set[asyncio.Task[Any]] = set()

    def create_task(self, coro: Any, **named: Any) -> asyncio.Task[Any]:
        task = super().create_task(coro, **named)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task


@dataclass
class Stage:
    """Everything that outlives a leader."""

    etcd: Etcd
    now_s: float = 1000.0
    raising: set[int] = field(default_factory=set)
    executed: list[str] = field(default_factory=list)
    reader: Reader = field(default_factory=Reader)
    shelf: Shelf = field(default_factory=Shelf)
    figures: Figures = field(default_factory=Figures)
    version: Version | Exception = VERSION
    artifact: Manifest | Exception = field(default_factory=lambda: Manifest(()))
    found: list[str] = field(default_factory=list)
    caps: Caps = field(default_factory=Caps)
    redis: Redis | None = None

    def __post_init__(self) -> None:
        self.queue: Any = RedisQueue(self.redis) if self.redis else MemoryQueue(self.clock, lambda: 1.0)
        self.records = Records(self.queue, self.caps)
        self.state = State(self.etcd, lambda: None)
        self.ready("w1", "w2")

    def clock(self) -> float:
        return self.now_s

    def ready(self, *workers: str) -> None:
        """Let these be the workers, each with the model READY."""
        self.state.workers.items = {w: Worker(w, "127.0.0.1:1", 4.0, 1 << 34, w) for w in workers}
        self.state.instances.items = {f"{w}/{MODEL}": Instance("digits", "1", w, InstanceState.READY) for w in workers}

    async def find_version(self, model: str, reference: str) -> Version:
        if isinstance(self.version, Exception):
            raise self.version
        return self.version

    async def set_alias(self, version: Version, alias: str, tenant: str) -> None:
        """The registry, once `publish` was called."""
        await self.etcd.put(keys.alias(version.model, alias), codec.encode(Alias(alias, version.version, tenant)))

    async def find_artifact(self, digest: str, tenant: str, upload: str) -> Manifest:
        self.found.append(digest)
        if isinstance(self.artifact, Exception):
            raise self.artifact
        return self.artifact

    async def submit(self, name: str = "job-1", tenant: str = "default", **spec: Any) -> Held:
        job = Job(name, tenant, replace(SPEC, **spec), create_time_s=self.now_s)
        return await self.records.submit(job)

    async def publish(self) -> None:
        """Put the version where the leader's condition looks for it."""
        await self.etcd.put(keys.model("digits"), codec.encode(Model("digits")))
        await self.etcd.put(keys.version("digits", "1"), codec.encode(VERSION))
        found = await self.etcd.get(keys.version("digits", "1"))
        assert found
        self.version = replace(VERSION, etag=str(found.mod_revision))

    async def lead(self, effects: int = 1 << 30, *, back: bool = False) -> Leading:
        """Another leader than before, which dies after so many effects, or is cut off for a moment."""
        await self.etcd.delete(keys.LEADER)
        await self.etcd.put(keys.LEADER, b"{}")
        found = await self.etcd.get(keys.LEADER)
        assert found
        return Leading(self, Term(self.etcd, keys.LEADER, found.create_revision, 0, 15), Leaving(effects, back=back))

    async def job(self, name: str = "job-1") -> Job:
        return (await self.records.read(name)).job

    async def harvest(self, name: str = "job-1") -> Harvest:
        """What anybody finds of a job."""
        held = await self.records.read(name)
        found = await outcomes_of(held, self.queue, self.shelf)
        return harvest(held.plan or Plan(0), found.done, found.dead)

    async def held(self, name: str = "job-1") -> set[str]:
        """The chunks and manifests that are held for a job."""
        listing = await self.etcd.list(keys.hold(f"jobs/{name}/"))
        holds = [codec.decode(Hold, kv.value) for kv in listing.items.values()]
        return {digest for hold in holds for digest in (*hold.chunks, *hold.manifests)}

    async def work(self, worker: str = "w1", tasks: int = 1) -> int:
        """Let a worker do so many tasks; return how many there were."""
        for number in range(tasks):
            claim = await self.queue.fetch(worker, [MODEL])
            if isinstance(claim, Idle):
                self.now_s += min(claim.due_s or 0.0, 1.0)
                return number
            await self._execute(claim, worker)
        return tasks

    async def _execute(self, claim: Claim, worker: str) -> None:
        task, attempts = TaskSpec.parse(claim.task), SPEC.max_attempts
        verdict = before(task, claim.deaths, attempts)
        bad = self.raising & set(range(task.begin, task.end))
        if verdict.step is Step.EXECUTE and bad:
            verdict = after(task, claim.failures, attempts, bad)
        if verdict.step is Step.EXECUTE:
            self.executed.append(task.id)
            digest = hashlib.sha256(task.id.encode()).hexdigest()
            await self._finish(claim, Outcome(0.01 * task.rows, worker, (StoredPiece("", task.rows, 1, (digest,)),)))
        else:
            await self._refuse(claim, worker, verdict)

    async def _refuse(self, claim: Claim, worker: str, verdict: Verdict) -> None:
        if verdict.step is Step.SPLIT:
            await self._finish(claim, Outcome(0.01, worker, parts=verdict.parts, reason="it raised"))
        else:
            await self.queue.fail(claim, "it raised", retryable=verdict.step is Step.RETRY)

    async def _finish(self, claim: Claim, outcome: Outcome) -> None:
        await self.queue.finish(claim, codec.encode(outcome))


class Leading:
    """A leader, which looks when it is told to."""

    def __init__(self, stage: Stage, term: Term, leaving: Leaving) -> None:
        self.stage = stage
        self.leaving = leaving
        queue = leaving.through(stage.queue)
        backends = Backends(
            queue, Records(queue, stage.caps), leaving.through(stage.etcd), leaving.through(stage.shelf), stage.shelf
        )
        services = Services(
            stage.state, stage.reader, stage.find_version, stage.find_artifact, leaving.through(stage).set_alias
        )
        self.supervision = Supervision("scheduler-0", backends, services, stage.figures, stage.caps, stage.clock)
        self.context = LeaderContext(backends, term, "scheduler-0", stage.caps, stage.clock, stage.clock)
        self.holds, self.wishes = JobHolds(self.context), Wishes(self.context)
        self.rounds = Rounds(self.context, self.holds, lambda model: [], lambda job, attempts: None)
        self.loop: JobLoop = self.supervision._loop_over_jobs(self.context, self.holds, self.wishes)

    async def look(self, times: int = 1) -> None:
        """Look so often, and let all be done that follows."""
        async with Tracked() as group:
            for _ in range(times):
                await self._look(group)

    async def _look(self, group: Tracked) -> None:
        self.stage.now_s += 0.6
        for step in (self.loop.sweep, partial(self.loop.look, group)):
            with suppress(*PASSING):  # as the loops do that they are called from
                await step()
        if group.tasks:
            await asyncio.wait(group.tasks)

    async def until(self, done: Callable[[Job], bool], name: str = "job-1", rounds: int = 300) -> Job:
        """Look, and let two workers work, until a job is as it is wanted."""
        async with Tracked() as group:
            for _ in range(rounds):
                await self._look(group)
                job = await self.stage.job(name)
                if done(job):
                    return job
                for worker in ("w1", "w2"):
                    await self.stage.work(worker, 2)
                self.loop.wake([task.job for task in await self.stage.queue.replies("scheduler-0", 0.0)])
        raise AssertionError(f"{job.state}: {job.reason}: {job.progress}")

    async def look_without_waiting(self, done: Callable[[], bool]) -> None:
        """Look, and let what follows go on beside the test, until something is so."""
        self.group = Tracked()
        await self.group.__aenter__()
        self.stage.now_s += 0.6
        await self.loop.look(self.group)
        await eventually(done)

    async def settle(self) -> None:
        """Wait for what was begun so."""
        await self.group.__aexit__(None, None, None)

    async def forget(self) -> None:
        await Expiry(self.context, self.holds).go()

    async def until_dead_of(self, name: str, *, cancel: bool) -> bool:
        """Lead until death; False: the job had ended before. Its owner may cancel it once it has results."""
        died = False
        try:
            if cancel:
                await self.until(lambda job: job.progress.done_rows > 0, name)
                await self.stage.records.change(name, lambda job: lifecycle.cancel(job, 1.0))
            await self.until(ended, name)
            await self.look(3)
        except* AbortedError:
            died = True
        return died


def ended(job: Job) -> bool:
    return job.ended
