"""From a recipe and its data to a version in the registry, through the suite."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from examples.suite import console
from modelyard import TrainingJobOptions
from modelyard.aio import Client
from modelyard.catalogue import Signature, Version
from modelyard.errors import ModelExecutionError
from modelyard.jobs.job import Job
from modelyard.jobs.states import JobState

Measure = Callable[[Client, Path], Awaitable[list[str]]]


@dataclass(frozen=True)
class Task:
    """What is trained on what.

    Attributes:
        model: the name of what comes out.
        code: the recipe's directory.
        train: a file with rows to learn from.
        held_out: a file with others, to measure on.
        options: target column, epochs and the like.
    """

    model: str
    code: Path
    train: Path
    held_out: Path
    options: TrainingJobOptions


async def train(client: Client, task: Task) -> Version:
    """Have a model trained and registered; say how that goes, and what came of it."""
    job = await submit(client, task)
    async with aclosing(course(client, job)) as states:
        async for _ in states:
            pass
    return await outcome(client, job)


async def serve(address: str, task: Task, measure: Measure) -> list[str]:
    """Train, deploy, and ask for the held-out rows; return what went wrong."""
    async with Client(address) as client:
        version = await train(client, task)
        await client.deploy(task.model, version.version)
        return await measure(client, task.held_out)


async def submit(client: Client, task: Task) -> Job:
    """Send code and data."""
    job = await client.jobs.train(task.model, task.code, task.train, task.options, validation=task.held_out)
    console.print(f"[bold]submitted[/] {job.id}: {task.code.name}/recipe.py, {task.train.name}, {task.held_out.name}")
    return job


async def course(client: Client, job: Job) -> AsyncGenerator[Job, None]:
    """Yield the job as it goes; print who trains whenever that changes."""
    members: tuple[str, ...] = ()
    async with aclosing(client.jobs.watch(job)) as events:
        async for event in events:
            if event.job is None:
                continue
            progress = event.job.progress.training
            if progress and progress.members != members:
                members = progress.members
                step = f"{progress.step} of {progress.steps}" if progress.steps else str(progress.step)
                console.print(f"  step {step}: {', '.join(sorted(members)) or 'nobody'}")
            yield event.job


async def outcome(client: Client, job: Job) -> Version:
    """Return the version that came of a job; print what was measured of it.

    Raises:
        ModelExecutionError: none did.
    """
    ended = await client.jobs.get(job)
    if ended.state is not JobState.SUCCEEDED:
        raise ModelExecutionError(f"{ended.id} {ended.state}: {ended.reason}\n{ended.traceback}")
    training = ended.spec.training
    assert training
    version = await client.version(training.model, ended.version)
    shown = ", ".join(f"{name} {value:.4g}" for name, value in sorted(version.metrics.items()))
    console.print(f"[bold]trained[/] {training.model}@{version.version}, {version.format}: {shown}")
    console.print(f"  {_words(version.signature)}", markup=False)
    return version


def _words(signature: Signature) -> str:
    """What goes in and what comes out; of many only the first ones."""
    sides = signature.inputs, signature.outputs
    return " -> ".join(", ".join([*map(str, side[:3]), *["..."] * (len(side) > 3)]) for side in sides)
