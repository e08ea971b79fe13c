"""The commands below `modelyard jobs`."""

from __future__ import annotations

from typing import Annotated

import typer

from modelyard.cli.command import Reference, Session, remote
from modelyard.cli.jobs import options as given
from modelyard.cli.jobs import results, text
from modelyard.cli.jobs.watching import follow
from modelyard.cli.output import facts, table, when
from modelyard.errors import InvalidInputError
from modelyard.jobs import spec
from modelyard.jobs.job import NO_ROW, Job, Progress
from modelyard.jobs.states import JobState
from modelyard.jobs.training_progress import TrainingProgress
from modelyard.sdk.jobs.options import JobOptions

app = typer.Typer(name="jobs", help="Jobs: a model, executed on every row of a dataset, or trained.")
app.add_typer(results.app)

JobId = Annotated[str, typer.Argument(metavar="JOB", help="its id")]


@app.callback(invoke_without_command=True)
def help_without_command(context: typer.Context) -> None:
    """Jobs: a model, executed on every row of a dataset, or trained (`modelyard train`)."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
@remote
def submit(  # noqa: PLR0913, PLR0917 (each is an option)
    session: Session,
    name: Reference,
    rows: Annotated[str, typer.Argument(metavar="ROWS", help="a file, a directory of images, a URL, sha256:DIGEST")],
    mapped: given.Mapped = None,
    cast: given.Cast = False,
    kind: given.Kind = "",
    key: given.Key = "",
    shard_by: given.ShardBy = "",
    shards: given.Shards = 0,
    format_: given.Format = "parquet",
    priority: given.Priority = spec.DEFAULT_PRIORITY,
    deadline: given.Deadline = 0.0,
    max_attempts: given.MaxAttempts = spec.DEFAULT_ATTEMPTS,
    max_dead_rows: given.MaxDeadRows = spec.DEFAULT_DEAD_ROWS,
    request_id: given.RequestId = "",
    resize: given.Resize = "",
    crop: given.Crop = "",
    scale: given.Scale = "",
    mean: given.Mean = "",
    std: given.Std = "",
    channels_first: given.ChannelsFirst = False,
    watch: Annotated[bool, typer.Option("--watch", help="show how it goes until it has ended")] = False,
) -> None:
    """Execute a model on every row of a dataset; of what is here only what the registry lacks is sent."""
    images = given.read_images(resize=resize, crop=crop, scale=scale, mean=mean, std=std, channels_first=channels_first)
    columns = given.read_columns(mapped)
    limits = (priority, deadline, max_attempts, max_dead_rows, request_id)
    options = JobOptions(columns, cast, kind, images, format_, key, shard_by, shards, *limits)
    with session.client() as client:
        with session.output.progress() as bars:
            job = client.jobs.submit(name, rows, options, progress=bars)
        session.output.show(text.document(job), f"submitted {job.id}: {text.model(job)}")
    if watch:
        follow(session, job)


@app.command("ls")
@remote
def list_jobs(
    session: Session,
    model: Annotated[str, typer.Option(metavar="NAME", help="only those of this model")] = "",
    state: Annotated[list[str] | None, typer.Option(metavar="STATE", help="as RUNNING; several times")] = None,
    of: Annotated[str, typer.Option("--of", metavar="TENANT", help="only those of this tenant")] = "",
    limit: Annotated[int, typer.Option(min=0, help="no more than so many; 0: all")] = 50,
) -> None:
    """List jobs, the newest first."""
    states = {_state(name) for name in state or ()}
    with session.client() as client:
        found = client.jobs.list(states=states, model=model, tenant=of, limit=limit)
    columns = ("job", "model", "state", "done", "speed", "tenant", "submitted")
    rows = [(j.id, text.model(j), *_going(j), j.tenant, when(j.create_time_s)) for j in found]
    session.output.show([text.document(job) for job in found], table(*columns, rows=rows, whole={"job"}))


def _state(name: str) -> JobState:
    try:
        return JobState(name.upper())
    except ValueError:
        raise InvalidInputError(f"--state: expected {', '.join(JobState)}; got {name!r}") from None


def _going(job: Job) -> tuple[str, str, str]:
    if training := job.progress.training:
        rate = f"{training.samples_per_s:,.4g} samples/s" if training.samples_per_s else ""
    else:
        rate = text.speed(job.progress.rows_per_s)
    return job.state, text.done(job), "" if job.ended else rate


@app.command()
@remote
def show(session: Session, job: JobId) -> None:
    """Show a job as it is now."""
    with session.client() as client:
        found = client.jobs.get(job)
    progress = found.progress
    said = {
        "job": found.id,
        "model": text.model(found),
        "state": text.state(found),
        **(_training(found) if found.spec.training else _rows(progress)),
        "workers": ", ".join(progress.workers),
        "computed": f"{found.usage.compute_s:.3g} s",
        "tenant": found.tenant,
        "submitted": when(found.create_time_s),
        "begun": when(found.start_time_s),
        "ended": when(found.end_time_s),
    }
    session.output.show(text.document(found), facts(said))


def _rows(progress: Progress) -> dict[str, str]:
    return {
        "rows": text.rows(progress),
        "given up": f"{progress.dead_rows:,}" if progress.dead_rows else "",
        "tasks": f"{progress.running_tasks} running, {progress.queued_tasks} queued, {progress.done_tasks} done",
        "retries": f"{progress.retries:,}" if progress.retries else "",
    }


def _training(job: Job) -> dict[str, str]:
    return {
        "version": job.version,
        "done": text.done(job),
        "last values": text.values(job.measurements),
        "checkpoint": _checkpoint(job),
        "traceback": job.traceback,
    }


def _checkpoint(job: Job) -> str:
    """The last one, and why there is no later one."""
    progress = job.progress.training or TrainingProgress()
    step = job.checkpoint.step if job.checkpoint else progress.checkpoint_step
    failure = f"no later one: {progress.checkpoint_failure}" if progress.checkpoint_failure else ""
    return "; ".join(filter(None, (text.checkpoint(job, step) if step else "", failure)))


@app.command()
@remote
def watch(
    session: Session,
    job: JobId,
    after: Annotated[int, typer.Option("--from", min=0, metavar="EVENT", help="the last one seen; 0: from now")] = 0,
) -> None:
    """Show how a job goes until it has ended; fail unless it has SUCCEEDED."""
    with session.client() as client:
        found = client.jobs.get(job)
    follow(session, found, after)


@app.command()
@remote
def cancel(session: Session, job: JobId) -> None:
    """End a job; results that are there stay, of a training the last checkpoint."""
    with session.client() as client:
        _tell(session, client.jobs.cancel(job))


@app.command()
@remote
def pause(session: Session, job: JobId) -> None:
    """Begin no task of a job any more, those that are executing go on; a training is saved, its workers are free."""
    with session.client() as client:
        _tell(session, client.jobs.pause(job))


@app.command()
@remote
def resume(session: Session, job: JobId) -> None:
    """Go on with a paused job, a training at the same sample."""
    with session.client() as client:
        _tell(session, client.jobs.resume(job))


def _tell(session: Session, job: Job) -> None:
    session.output.show(text.document(job), f"{job.id} {text.state(job)}")


@app.command()
@remote
def dead(
    session: Session,
    job: JobId,
    limit: Annotated[int, typer.Option(min=0, help="no more than so many; 0: all")] = 100,
) -> None:
    """List the rows that were given up, with the reason."""
    with session.client() as client:
        letters = client.jobs.dead_letters(job, limit)
    rows = [("" if d.row == NO_ROW else d.row, d.task, d.failures, d.deaths, d.reason) for d in letters]
    session.output.show(letters, table("row", "task", "failed", "worker lost", "reason", rows=rows))


@app.command()
@remote
def retry(
    session: Session,
    job: JobId,
    tasks: Annotated[list[str] | None, typer.Argument(metavar="[TASK]...", help="as `dead` lists them; all")] = None,
) -> None:
    """Have rows that were given up executed again."""
    with session.client() as client:
        retried = client.jobs.retry_dead_letters(job, tasks or ())
    session.output.show({"job": job, "retried": retried}, f"{job}: {text.count(retried, 'task')} to be executed again")
