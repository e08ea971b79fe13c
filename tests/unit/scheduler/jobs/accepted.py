"""The Jobs API on a queue in memory and a registry in dictionaries."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from modelyard.catalogue import CHUNK_SIZE_BYTES, File, Manifest, Resources, Signature, Version
from modelyard.codec import encode
from modelyard.errors import NotFoundError, PreconditionError, UnavailableError
from modelyard.jobs.job import Job
from modelyard.jobs.planning import Plan
from modelyard.jobs.spec import JobSpec
from modelyard.jobs.tasks import Outcome
from modelyard.queue import Caps, Claim, Task
from modelyard.queue.memory import MemoryQueue
from modelyard_scheduler.jobs.api.dead_letters import DeadLetters
from modelyard_scheduler.jobs.api.service import Jobs
from modelyard_scheduler.jobs.api.submission import Submission
from modelyard_scheduler.jobs.api.watching import Watching
from modelyard_scheduler.jobs.records import Held, Records, queue_job
from tests.unit.jobs.submitted import DIGEST, SPEC

ALLOWED = ("s3://bucket/data", "https://example.org/sets")
WORKER = "w"
CAPS = Caps()


class FakeRegistry:
    """Model digits with versions 1 and 2 (alias prod: 1), 3 is deleted; one artifact; `away`: nobody answers."""

    def __init__(self) -> None:
        self.away = False
        self.manifests = {DIGEST: Manifest((File("rows.npy", 3, ("cd" * 32,)),))}
        self.stored: dict[str, bytes] = {}
        self.held: list[tuple[str, str, str]] = []

    def _asked(self) -> None:
        if self.away:
            raise UnavailableError("no registry is live", retry_after_s=1.0)

    async def find_usable_version(self, model: str, reference: str) -> Version:
        self._asked()
        name = {"": "2", "prod": "1"}.get(reference, reference)
        if model != "digits" or name not in {"1", "2", "3"}:
            raise NotFoundError(f"model {model!r}: no version or alias {reference!r}")
        if name == "3":
            raise PreconditionError("digits@3: it is deleted; undelete it first")
        return Version(model, name, "onnx", Signature(), Resources(), DIGEST, 1)

    async def hold_artifact(self, digest: str, tenant: str, upload: str) -> Manifest:
        self._asked()
        if digest not in self.manifests:
            raise NotFoundError(f"manifest {digest}: not in the artifact store")
        self.held.append((digest, tenant, upload))
        return self.manifests[digest]

    async def store_artifact(self, path: str, content: bytes, *, tenant: str, upload: str) -> str:
        self._asked()
        assert len(content) <= CHUNK_SIZE_BYTES
        digest = hashlib.sha256(path.encode() + content).hexdigest()
        self.stored[digest] = content
        self.held.append((digest, tenant, upload))
        return digest


class Desk:
    """All parts of the API but results, at 1000 s."""

    def __init__(self, caps: Caps = CAPS) -> None:
        self.now_s = 1000.0
        self.queue = MemoryQueue(lambda: self.now_s, lambda: 1.0)
        self.records = Records(self.queue, caps)
        self.registry = FakeRegistry()
        self.submission = Submission(self.records, self.registry, ALLOWED, self._clock)
        self.jobs = Jobs(self.queue, self.records, self._clock)
        self.letters = DeadLetters(self.queue, self.records, self._clock)
        self.watching = Watching(self.queue, self.records, self._clock, look_s=0.05)

    def _clock(self) -> float:
        return self.now_s

    async def submit(self, request: str = "r1", spec: JobSpec = SPEC, tenant: str = "acme") -> Job:
        return await self.submission.submit(tenant, request, spec)

    async def becomes(self, job: str, **changes: object) -> Held:
        """As the leader: write that a job is so."""
        return await self.records.change(job, lambda found: replace(found, **changes))  # type: ignore[arg-type]

    async def plan(self, job: str, plan: Plan) -> None:
        """As the leader: write a plan, queue its tasks."""
        held = await self.records.read(job)
        assert await self.records.write(held, held.job, plan)
        await self.queue.enqueue(job, [Task(task.id) for task in plan.tasks()], CAPS)

    async def claim(self, job: Job) -> Claim:
        """As a worker: fetch a task of the job's model."""
        claim = await self.queue.fetch(WORKER, [queue_job(job).model])
        assert isinstance(claim, Claim)
        return claim

    async def finish(self, claim: Claim, outcome: Outcome) -> None:
        """As a worker: end a task."""
        assert await self.queue.finish(claim, encode(outcome))
