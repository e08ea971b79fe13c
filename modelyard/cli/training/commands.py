"""The command that has a model trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from modelyard.cli.command import Session, remote
from modelyard.cli.jobs import options as jobs
from modelyard.cli.jobs import text
from modelyard.cli.jobs.watching import follow
from modelyard.cli.training import options as given
from modelyard.client import Client
from modelyard.jobs import spec
from modelyard.jobs.job import Job
from modelyard.jobs.training import Checkpoints, Code, Release, TrainingSpec
from modelyard.sdk.jobs.training_options import TrainingJobOptions

app = typer.Typer()


@app.command()
@remote
def train(  # noqa: PLR0913, PLR0917 (each is an option)
    session: Session,
    code: Annotated[Path, typer.Argument(metavar="RECIPE_DIR", help="the directory of a recipe or a script")],
    data: given.Data = "",
    model: given.Model = "",
    entry: given.Entry = "",
    script: given.Script = "",
    max_restarts: given.MaxRestarts = Code.max_restarts,
    parameters: given.Set = None,
    validation: given.Validation = "",
    held_out: given.HeldOut = 0.0,
    kind: jobs.Kind = "",
    features: given.Features = "",
    target: given.Target = "",
    balanced: given.Balanced = False,
    epochs: given.Epochs = 0,
    steps: given.Steps = 0,
    batch_size: given.BatchSize = TrainingSpec.batch_size,
    accumulation: given.Accumulation = 1,
    precision: given.Precision = "fp32",
    seed: given.Seed = 0,
    workers: given.Workers = 1,
    min_workers: given.MinWorkers = 0,
    parallel: given.Parallel = "",
    metric: given.Metric = "loss",
    mode: given.Mode = "min",
    patience: given.Patience = 0,
    min_delta: given.MinDelta = 0.0,
    checkpoint_steps: given.CheckpointSteps = 0,
    checkpoint_seconds: given.CheckpointSeconds = 0.0,
    keep_last: given.KeepLast = Checkpoints.keep_last,
    resume: given.Resume = "",
    stall_seconds: given.StallSeconds = TrainingSpec.stall_s,
    alias: given.Alias = "",
    deploy: given.Deploy = False,
    if_better: given.IfBetter = False,
    cpu: given.Cpu = 0.0,
    memory: given.Memory = "",
    gpu: given.Gpu = 0,
    priority: jobs.Priority = spec.DEFAULT_PRIORITY,
    deadline: jobs.Deadline = 0.0,
    request_id: jobs.RequestId = "",
    detach: Annotated[bool, typer.Option("--detach", help="do not show how it goes")] = False,
) -> None:
    """Train a model with a recipe or a script, which is sent with its directory; show how it goes."""
    columns = (given.read_features(features), target, held_out)
    size = (epochs, steps, batch_size, accumulation, precision, seed, workers, min_workers)
    entry = given.read_entry(entry, script)
    rows = given.read_data(data, entry)
    options = TrainingJobOptions(entry, given.read_parameters(parameters), kind, None, *(*columns, *size))
    saved = Checkpoints(checkpoint_steps, checkpoint_seconds, keep_last)
    options = replace(options, parallelism=given.read_parallelism(parallel), checkpoints=saved)
    options = replace(options, metric=metric, mode=mode, patience=patience, min_delta=min_delta, balanced=balanced)
    options = replace(options, priority=priority, deadline_s=deadline, request_id=request_id)
    options = replace(options, release=Release(alias, deploy, if_better), max_restarts=max_restarts)
    options = replace(options, resources=given.read_resources(cpu, memory, gpu), resume_from=resume)
    options = replace(options, stall_s=stall_seconds)
    with session.client() as client:
        with session.output.progress() as bars:
            name = model or code.resolve().name
            job = client.jobs.train(name, code, rows, options, validation=validation or None, progress=bars)
        _show(session, client, job, detach)


def _show(session: Session, client: Client, job: Job, detach: bool) -> None:
    session.output.show(text.document(job), f"submitted {job.id}: {text.model(job)}")
    if not detach:
        follow(session, client, job)
