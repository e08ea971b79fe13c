from __future__ import annotations

from typing import Any

import pytest

from modelyard.datasets.image_options import ImageOptions
from modelyard.errors import InvalidInputError
from modelyard.jobs.job import DeadLetter, EventKind, Job, JobEvent, Progress, ResultsHeader, TaskNews, Usage
from modelyard.jobs.listing import JobFilter
from modelyard.jobs.spec import (
    Artifact,
    BatchInference,
    Dataset,
    JobSpec,
    Output,
    ResultFormat,
    Sharding,
)
from modelyard.jobs.states import JobState
from modelyard.rpc import convert
from modelyard.v1 import jobs_pb2 as pb

DATASETS = [
    Dataset(artifact=Artifact("ab" * 32, "rows.npy"), kind="npy"),
    Dataset(
        url="s3://bucket/images", images=ImageOptions((0, 256), (224, 224), 0.5, (1.0, 2.0, 3.0), (4.0, 5.0, 6.0), True)
    ),
    Dataset(inline=b"", kind="jsonl", images=ImageOptions()),
]


def spec(dataset: Dataset = DATASETS[0], **changes: Any) -> JobSpec:
    columns = (("x", ("a", "b")), ("y", ("*",)))
    output, sharding = Output(ResultFormat.NPY, "id"), Sharding("key", 12)
    inference = BatchInference("digits", dataset, "prod", columns, True, output, sharding)
    return JobSpec(inference, **{"priority": 0, "deadline_s": 1.5, "max_attempts": 2, "max_dead_rows": 0, **changes})


JOB = Job(
    "job-1",
    "tenant",
    spec(),
    JobState.PARTIALLY_SUCCEEDED,
    "1 of 5 rows were given up",
    100.25,
    101.5,
    102.75,
    Progress(5, 4, 1, 9, 1, 2, 6, 3, ("w1", "w2"), 2.5, 110.5),
    Usage(4, 6, 1.25),
)


def sent(message: Any) -> Any:
    """The message as it arrives."""
    return type(message).FromString(message.SerializeToString())


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_spec_arrives_as_it_was(dataset: Dataset) -> None:
    assert convert.spec_from_pb(sent(convert.spec_to_pb(spec(dataset)))) == spec(dataset)


def test_what_is_not_set_has_its_default() -> None:
    message = pb.JobSpec(batch_inference=pb.BatchInference(model="m", dataset=pb.Dataset(url="s3://b/x")))
    assert convert.spec_from_pb(message) == JobSpec(BatchInference("m", Dataset(url="s3://b/x")))
    message.batch_inference.dataset.images.SetInParent()
    assert convert.spec_from_pb(message).inference.dataset.images == ImageOptions()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"output": pb.Output(format=7)}, "job: output: expected a format of PARQUET, NPY, got number 7"),  # type: ignore[arg-type]
        (
            {"dataset": pb.Dataset(images=pb.ImageOptions(resize=[3]))},
            r"job: images: resize: expected height and width, got \[3\]",
        ),
        (
            {"dataset": pb.Dataset(images=pb.ImageOptions(std=[0.5]))},
            r"job: images: std: expected a value for each of 3 channels, got \[0.5\]",
        ),
    ],
)
def test_what_a_message_cannot_mean_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        convert.spec_from_pb(pb.JobSpec(batch_inference=pb.BatchInference(model="m", **changes)))


def test_a_job_of_no_kind_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="job: expected a kind of batch_inference, training; got none"):
        convert.spec_from_pb(pb.JobSpec(priority=3))


def test_what_a_message_cannot_hold_is_named() -> None:
    with pytest.raises(InvalidInputError, match="priority: expected an integer of at most 32 bits"):
        convert.spec_to_pb(spec(priority=1 << 40))
    with pytest.raises(InvalidInputError, match="expected one of artifact, url, inline; got several"):
        convert.spec_to_pb(spec(Dataset(url="s3://b", inline=b"")))


def test_a_job_arrives_as_it_was() -> None:
    assert convert.job_from_pb(sent(convert.job_to_pb(JOB))) == JOB
    fresh = Job("job-2", "tenant", spec(), create_time_s=5.0)
    assert convert.job_from_pb(sent(convert.job_to_pb(fresh))) == fresh


def test_states_and_kinds_of_events_are_those_of_the_protocol() -> None:
    assert [state.value for state in JobState] == [name for name in pb.Job.State.keys() if name != "STATE_UNSPECIFIED"]  # noqa: SIM118
    kinds = pb.WatchJobResponse.Kind.keys()
    assert [kind.value for kind in EventKind] == [name for name in kinds if name != "KIND_UNSPECIFIED"]


@pytest.mark.parametrize(
    "event",
    [
        JobEvent(EventKind.SNAPSHOT, 7, 100.5, job=JOB),
        JobEvent(EventKind.TASK_DEAD, 8, 101.0, task=TaskNews("r3-4", 3, 4, "w1", "it raised")),
    ],
)
def test_an_event_arrives_as_it_was(event: JobEvent) -> None:
    assert convert.job_event_from_pb(sent(convert.job_event_to_pb(event))) == event


def test_dead_letters_and_headers_arrive_as_they_were() -> None:
    letter = DeadLetter("r3-4", 3, "it raised", 3, 1)
    assert convert.dead_letter_from_pb(sent(convert.dead_letter_to_pb(letter))) == letter
    header = ResultsHeader(ResultFormat.NPY, 1 << 40, 10, True, "abc")
    assert convert.results_header_from_pb(sent(convert.results_header_to_pb(header))) == header


def test_a_filter_arrives_as_it_was() -> None:
    wanted = JobFilter(frozenset({JobState.RUNNING, JobState.FAILED}), "digits", "tenant")
    assert convert.job_filter_from_pb(sent(convert.job_filter_to_pb(wanted))) == wanted
    assert convert.job_filter_from_pb(pb.ListJobsRequest()) == JobFilter()
    for number in (0, 99):
        with pytest.raises(InvalidInputError, match=f"states: expected some of QUEUED, .*; got number {number}"):
            convert.job_filter_from_pb(pb.ListJobsRequest(states=[number]))  # type: ignore[list-item]
