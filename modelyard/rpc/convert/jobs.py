"""Jobs: how they are, and what is told of them. What is asked for is in job_specs."""

from __future__ import annotations

from modelyard.jobs import job as values
from modelyard.jobs.spec import ResultFormat
from modelyard.jobs.states import JobState
from modelyard.rpc.build import build
from modelyard.rpc.convert.job_specs import spec_from_pb, spec_to_pb
from modelyard.rpc.convert.training import (
    checkpoint_from_pb,
    checkpoint_to_pb,
    measurement_from_pb,
    measurement_to_pb,
    training_progress_from_pb,
    training_progress_to_pb,
)
from modelyard.rpc.convert.types import seconds, timestamp
from modelyard.v1 import jobs_pb2 as pb


def job_to_pb(job: values.Job) -> pb.Job:
    """A job; the digest of what was asked for is not told."""
    return pb.Job(
        id=job.id,
        tenant=job.tenant,
        spec=spec_to_pb(job.spec),
        state=job.state.value,
        reason=job.reason,
        create_time=timestamp(job.create_time_s),
        start_time=timestamp(job.start_time_s) if job.start_time_s else None,
        end_time=timestamp(job.end_time_s) if job.end_time_s else None,
        progress=progress_to_pb(job.progress),
        usage=pb.JobUsage(rows=job.usage.rows, tasks=job.usage.tasks, compute_s=job.usage.compute_s),
        version=job.version,
        measurements=map(measurement_to_pb, job.measurements),
        traceback=job.traceback,
        checkpoint=checkpoint_to_pb(job.checkpoint) if job.checkpoint else None,
    )


def job_from_pb(job: pb.Job) -> values.Job:
    """A job."""
    return values.Job(
        id=job.id,
        tenant=job.tenant,
        spec=spec_from_pb(job.spec),
        state=JobState(pb.Job.State.Name(job.state)),
        reason=job.reason,
        create_time_s=seconds(job.create_time),
        start_time_s=seconds(job.start_time),
        end_time_s=seconds(job.end_time),
        progress=progress_from_pb(job.progress),
        usage=values.Usage(job.usage.rows, job.usage.tasks, job.usage.compute_s),
        version=job.version,
        measurements=tuple(map(measurement_from_pb, job.measurements)),
        traceback=job.traceback,
        checkpoint=checkpoint_from_pb(job.checkpoint) if job.HasField("checkpoint") else None,
    )


def progress_to_pb(progress: values.Progress) -> pb.JobProgress:
    """How far a job is."""
    return pb.JobProgress(
        rows=progress.rows,
        done_rows=progress.done_rows,
        dead_rows=progress.dead_rows,
        tasks=progress.tasks,
        queued_tasks=progress.queued_tasks,
        running_tasks=progress.running_tasks,
        done_tasks=progress.done_tasks,
        retries=progress.retries,
        workers=progress.workers,
        rows_per_second=progress.rows_per_s,
        estimated_end_time=timestamp(progress.estimated_end_s) if progress.estimated_end_s else None,
        training=training_progress_to_pb(progress.training) if progress.training else None,
    )


def progress_from_pb(progress: pb.JobProgress) -> values.Progress:
    """How far a job is."""
    return values.Progress(
        rows=progress.rows,
        done_rows=progress.done_rows,
        dead_rows=progress.dead_rows,
        tasks=progress.tasks,
        queued_tasks=progress.queued_tasks,
        running_tasks=progress.running_tasks,
        done_tasks=progress.done_tasks,
        retries=progress.retries,
        workers=tuple(progress.workers),
        rows_per_s=progress.rows_per_second,
        estimated_end_s=seconds(progress.estimated_end_time),
        training=training_progress_from_pb(progress.training) if progress.HasField("training") else None,
    )


def job_event_to_pb(event: values.JobEvent) -> pb.WatchJobResponse:
    """Something that happened to a job."""
    return pb.WatchJobResponse(
        kind=event.kind.value,
        event=event.event,
        time=timestamp(event.time_s),
        job=job_to_pb(event.job) if event.job else None,
        task=_task_to_pb(event.task) if event.task else None,
        measurements=map(measurement_to_pb, event.measurements),
    )


def job_event_from_pb(event: pb.WatchJobResponse) -> values.JobEvent:
    """Something that happened to a job."""
    return values.JobEvent(
        kind=values.EventKind(pb.WatchJobResponse.Kind.Name(event.kind)),
        event=event.event,
        time_s=seconds(event.time),
        job=job_from_pb(event.job) if event.HasField("job") else None,
        task=_task_from_pb(event.task) if event.HasField("task") else None,
        measurements=tuple(map(measurement_from_pb, event.measurements)),
    )


def _task_to_pb(task: values.TaskNews) -> pb.JobTask:
    return pb.JobTask(id=task.id, begin=task.begin, end=task.end, worker=task.worker, reason=task.reason)


def _task_from_pb(task: pb.JobTask) -> values.TaskNews:
    return values.TaskNews(task.id, task.begin, task.end, task.worker, task.reason)


def dead_letter_to_pb(letter: values.DeadLetter) -> pb.DeadLetter:
    """A row that was given up."""
    return build(
        pb.DeadLetter,
        task=letter.task,
        row=letter.row,
        reason=letter.reason,
        failures=letter.failures,
        deaths=letter.deaths,
    )


def dead_letter_from_pb(letter: pb.DeadLetter) -> values.DeadLetter:
    """A row that was given up."""
    return values.DeadLetter(letter.task, letter.row, letter.reason, letter.failures, letter.deaths)


def results_header_to_pb(header: values.ResultsHeader) -> pb.ResultsHeader:
    """What a file of results is."""
    return pb.ResultsHeader(
        format=header.format.value,
        size_bytes=header.size_bytes,
        rows=header.rows,
        complete=header.complete,
        etag=header.etag,
    )


def results_header_from_pb(header: pb.ResultsHeader) -> values.ResultsHeader:
    """What a file of results is."""
    return values.ResultsHeader(
        format=ResultFormat(pb.ResultFormat.Name(header.format)),
        size_bytes=header.size_bytes,
        rows=header.rows,
        complete=header.complete,
        etag=header.etag,
    )
