"""Everything that a training job has beside its leader: who places its processes, the agents, a control process."""

from __future__ import annotations

from dataclasses import dataclass, replace

from modelyard import codec, keys
from modelyard.deployment import Deployment, Instance, InstanceState, Member, Placement, Worker
from modelyard.jobs.gang import CODE_LABEL, CONTROL, Charter
from modelyard.jobs.job import Job
from modelyard.jobs.spec import Artifact, Dataset, JobSpec
from modelyard.jobs.training import Code, TrainingData, TrainingSpec
from modelyard.jobs.training_progress import Checkpoint, Measurement, TrainingProgress, TrainingReport
from modelyard.train.control.fence import Record
from modelyard.train.control.messages import Formation, Saved
from modelyard.train.position import Position
from tests.unit.jobs.submitted import DIGEST
from tests.unit.scheduler.jobs.term import Leading, Stage

CODE = "cd" * 32
SPEC = TrainingSpec(
    "new",
    Code(Artifact(CODE), "recipe"),
    TrainingData(Dataset(artifact=Artifact(DIGEST, "rows.npy"))),
    steps=10,
    batch_size=8,
    min_workers=2,
    max_workers=2,
)


@dataclass
class Trainers:
    """They are as far as `work` has brought them.

    Attributes:
        stops: whether they end when they are told to.
        step: that is committed.
        steps: in all.
        resumed: from which step they began, each time.
        spent_s: what the two have spent together since they began.
        holds: whether they go no further.
    """

    stage: Stage
    stops: bool = True
    step: int = 0
    steps: int = 10
    holds: bool = False
    version: str = "1"
    checkpoint: int = 0
    spent_s: float = 0.0

    def __post_init__(self) -> None:
        self.resumed: list[int] = []
        self._seen_s = self.stage.now_s
        self.label("w1", "w2")

    def label(self, *workers: str) -> None:
        """These, of all, run users' code."""
        label = dict([CODE_LABEL])
        found = self.stage.state.workers.items
        self.stage.state.workers.items = {
            name: Worker(name, "127.0.0.1:1", 4.0, 1 << 34, name, labels=label if name in workers else {})
            for name in {*found, *workers}
        }

    async def submit(
        self,
        training: TrainingSpec = SPEC,
        deadline_s: float = 0.0,
        checkpoint: Checkpoint | None = None,
        name: str = "job-1",
    ) -> None:
        """Have a job be QUEUED."""
        spec = JobSpec(training=training, deadline_s=deadline_s)
        job = Job(name, "default", spec, create_time_s=self.stage.now_s, checkpoint=checkpoint)
        await self.stage.records.submit(job)

    async def wishes(self) -> dict[str, Deployment]:
        """By their names, "~job-1@ranks" for instance."""
        found = (await self.stage.etcd.list(keys.JOBS)).items
        wishes = [codec.decode(Deployment, kv.value) for kv in found.values()]
        return {f"{wish.model}@{wish.version}": wish for wish in wishes}

    async def charter(self) -> Charter | None:
        """What they are told."""
        found = await self.stage.etcd.get(keys.training_charter("job-1"))
        return codec.decode(Charter, found.value) if found else None

    async def left(self) -> list[str]:
        """What is in etcd of any training."""
        return [*(await self.stage.etcd.keys(keys.TRAINING)), *(await self.stage.etcd.keys(keys.JOBS))]

    async def report(self, report: TrainingReport) -> None:
        """As the control process."""
        await self.stage.etcd.put(keys.training_report("job-1"), codec.encode(report))

    async def place(self) -> bool:
        """As the leader of placements and the agents: return whether all are there."""
        state, wishes = self.stage.state, await self.wishes()
        state.wishes.items = {f"{name}/job-1": wish for name, wish in wishes.items()}
        able = [name for name, worker in state.workers.items.items() if worker.labels]
        state.placements.items, state.instances.items = {}, {}
        for name, wish in wishes.items():
            workers = able[: 1 if wish.format == CONTROL else wish.replicas]
            for worker in workers if len(workers) >= wish.least else ():
                self._put(wish, name, worker)
        return bool(wishes) and len(state.instances.items) == sum(wish.replicas for wish in wishes.values())

    def _put(self, wish: Deployment, name: str, worker: str) -> None:
        placement = Placement(
            wish.model,
            wish.version,
            worker,
            wish.manifest_digest,
            wish.format,
            wish.resources,
            1,
            internal=True,
        )
        self.stage.state.placements.items[f"{worker}/{name}"] = placement
        instance = Instance(wish.model, wish.version, worker, InstanceState.READY)
        self.stage.state.instances.items[f"{worker}/{name}"] = instance

    async def work(self, steps: int = 2) -> None:
        """Have them come, go, and train, as they are wished for and told."""
        charter = await self.charter()
        if not await self.place() or charter is None:
            await self.stage.etcd.delete(keys.training_control("job-1"))
            return
        control = codec.encode(Member("c", "127.0.0.1:1"))
        if await self.stage.etcd.get(keys.training_control("job-1")) is None:
            await self.stage.etcd.put(keys.training_control("job-1"), control)
            self.step = self.checkpoint = await self._begins()
            self.resumed.append(self.checkpoint)
            self.spent_s, self._seen_s = 0.0, self.stage.now_s
        self.spent_s += 2 * (self.stage.now_s - self._seen_s)
        self._seen_s = self.stage.now_s
        if not charter.stop:
            self.step = min(self.step + (0 if self.holds else steps), self.steps)
        stopped = bool(charter.stop) and self.stops and self.step < self.steps
        if stopped:
            await self.save(self.step)
        await self.report(self._report(stopped=stopped))

    async def _begins(self) -> int:
        """The step that they go on from."""
        found = await self.stage.etcd.get(keys.training_formation("job-1"))
        saved = codec.decode(Record, found.value).formation.checkpoint if found else None
        return saved.position.step if saved else 0

    async def save(self, step: int, *before: int) -> None:
        """As rank 0 and the control process: a checkpoint of so many steps, and those that are kept beside it."""
        self.checkpoint = step
        saved = Saved(Position(step, 1, 7), named(step), tuple(map(named, before)))
        record = Record(Formation(1, ("w1/1", "w2/1"), ("127.0.0.1",) * 2, "127.0.0.1:1", saved))
        await self.stage.etcd.put(keys.training_formation("job-1"), codec.encode(record))

    def _report(self, *, stopped: bool) -> TrainingReport:
        progress = TrainingProgress(self.step, self.steps, 0, 0, 5.0, ("w1", "w2"), 2, 2, self.checkpoint)
        latest = (Measurement(self.step, {"loss": 1.0 / (1 + self.step)}),)
        if self.step < self.steps or self.holds:
            return TrainingReport(progress, latest, stopped=stopped, compute_s=self.spent_s)
        ended = TrainingReport(progress, latest, finished="FINISHED", version=self.version)
        return replace(ended, compute_s=self.spent_s)

    async def until_over(self, leader: Leading, rounds: int = 60) -> Job:
        """Look and work until the job has ended, and is settled."""
        for _ in range(rounds):
            await leader.look()
            await self.work()
            if not await self.stage.queue.active():
                return await self.stage.job()
        job = await self.stage.job()
        raise AssertionError(f"{job.state}: {job.reason}: {job.progress.training}")


def named(step: int) -> str:
    """The digest of a checkpoint."""
    return f"{step:064x}"


def progressed(job: Job) -> TrainingProgress:
    """How far it is."""
    assert job.progress.training
    return replace(job.progress.training)
