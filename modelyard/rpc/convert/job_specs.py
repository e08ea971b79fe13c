"""What a job is asked for. A message that lacks its kind of job is refused; what makes no sense is found later."""

from __future__ import annotations

from collections.abc import Iterable

from modelyard.errors import InvalidInputError
from modelyard.jobs import spec as values
from modelyard.jobs.listing import JobFilter
from modelyard.jobs.states import JobState
from modelyard.rpc.build import build
from modelyard.rpc.convert.job_datasets import dataset_from_pb, dataset_to_pb
from modelyard.rpc.convert.training_specs import training_from_pb, training_to_pb
from modelyard.v1 import jobs_pb2 as pb


def spec_to_pb(spec: values.JobSpec) -> pb.JobSpec:
    """A spec."""
    return build(
        pb.JobSpec,
        batch_inference=None if spec.training else _inference_to_pb(spec.inference),
        training=training_to_pb(spec.training) if spec.training else None,
        priority=spec.priority,
        deadline_s=spec.deadline_s,
        max_attempts=spec.max_attempts,
        max_dead_rows=spec.max_dead_rows,
    )


def spec_from_pb(spec: pb.JobSpec) -> values.JobSpec:
    """A spec, with the defaults for what is not set.

    Raises:
        InvalidInputError: it has no kind of job, or one that this release does not know; or sizes or channels of images
            are not as many as they have to be.
    """
    kind = spec.WhichOneof("kind")
    if kind is None:
        raise InvalidInputError("job: expected a kind of batch_inference, training; got none")
    return values.JobSpec(
        batch_inference=_inference_from_pb(spec.batch_inference) if kind == "batch_inference" else None,
        training=training_from_pb(spec.training) if kind == "training" else None,
        priority=spec.priority if spec.HasField("priority") else values.DEFAULT_PRIORITY,
        deadline_s=spec.deadline_s,
        max_attempts=spec.max_attempts or values.DEFAULT_ATTEMPTS,
        max_dead_rows=spec.max_dead_rows if spec.HasField("max_dead_rows") else values.DEFAULT_DEAD_ROWS,
    )


def _inference_to_pb(inference: values.BatchInference) -> pb.BatchInference:
    return build(
        pb.BatchInference,
        model=inference.model,
        version=inference.version,
        dataset=dataset_to_pb(inference.dataset),
        columns=[build(pb.InputColumns, input=name, columns=columns) for name, columns in inference.columns],
        cast=inference.cast,
        output=build(pb.Output, format=inference.output.format.value, key_column=inference.output.key_column),
        sharding=build(pb.Sharding, key_column=inference.sharding.key_column, shards=inference.sharding.shards),
    )


def _inference_from_pb(inference: pb.BatchInference) -> values.BatchInference:
    return values.BatchInference(
        model=inference.model,
        version=inference.version,
        dataset=dataset_from_pb(inference.dataset),
        columns=tuple((one.input, tuple(one.columns)) for one in inference.columns),
        cast=inference.cast,
        output=values.Output(_format_from_pb(inference.output.format), inference.output.key_column),
        sharding=values.Sharding(inference.sharding.key_column, inference.sharding.shards),
    )


def _format_from_pb(chosen: pb.ResultFormat) -> values.ResultFormat:
    if chosen not in {*pb.ResultFormat.values()}:
        known = ", ".join(values.ResultFormat)
        raise InvalidInputError(f"job: output: expected a format of {known}, got number {chosen}")
    return values.ResultFormat(pb.ResultFormat.Name(chosen)) if chosen else values.ResultFormat.PARQUET


def job_filter_to_pb(wanted: JobFilter) -> pb.ListJobsRequest:
    """Which jobs are wanted, without a page."""
    states = sorted(state.value for state in wanted.states)
    return build(pb.ListJobsRequest, states=states, model=wanted.model, tenant=wanted.tenant)


def job_filter_from_pb(request: pb.ListJobsRequest) -> JobFilter:
    """Which jobs are wanted. InvalidInputError: one of the states is none."""
    return JobFilter(_states(request.states), request.model, request.tenant)


def _states(states: Iterable[pb.Job.State]) -> frozenset[JobState]:
    known = {pb.Job.State.Value(state.value): state for state in JobState}
    for state in states:
        if state not in known:
            raise InvalidInputError(f"states: expected some of {', '.join(JobState)}; got number {state}")
    return frozenset(known[state] for state in states)
