from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, cast

import pytest

from modelyard.catalogue import Resources
from modelyard.codec import MalformedError, decode, encode
from modelyard.errors import InvalidInputError
from modelyard.jobs.dataset import Artifact, Dataset
from modelyard.jobs.job import EventKind, Job, JobEvent, Progress
from modelyard.jobs.spec import JobSpec
from modelyard.jobs.states import JobState
from modelyard.jobs.training import (
    Checkpoints,
    Code,
    Objective,
    Parallelism,
    Precision,
    Release,
    TrainingData,
    TrainingSpec,
)
from modelyard.jobs.training_progress import Checkpoint, Measurement, TrainingProgress
from modelyard.rpc import convert
from modelyard.v1 import jobs_pb2 as pb

DIGEST = "ab" * 32
PLAIN = TrainingSpec("digits", Code(Artifact(DIGEST), "recipe"), TrainingData(Dataset(url="s3://b/x.csv")), epochs=1)
FULL = TrainingSpec(
    model="digits",
    code=Code(Artifact(DIGEST, "p"), "recipe:Digits", (("lr", "0.1"), ("deep", "true")), 0),
    data=TrainingData(Dataset(url="s3://b/x"), Dataset(inline=b"1", kind="csv"), 0.25, ("a", "b"), "y", True),
    epochs=3,
    steps=4,
    batch_size=64,
    accumulation=2,
    precision=Precision.BF16,
    seed=1 << 40,
    parallelism=Parallelism(2, 3, 4, 5),
    min_workers=60,
    max_workers=120,
    checkpoints=Checkpoints(7, 8.5, 9),
    objective=Objective("accuracy", True, 2, 0.5),
    release=Release("prod", True, True),
    resources=Resources(1.5, 3 << 30, 1),
    resume_from="job-1",
    stall_s=2.5,
)


def sent(spec: JobSpec) -> JobSpec:
    return convert.spec_from_pb(pb.JobSpec.FromString(convert.spec_to_pb(spec).SerializeToString()))


SCRIPT = TrainingSpec("digits", Code(Artifact(DIGEST), "train.py"), TrainingData())


@pytest.mark.parametrize("spec", [PLAIN, FULL, SCRIPT])
def test_a_training_arrives_as_it_was(spec: TrainingSpec) -> None:
    job = JobSpec(training=spec, priority=2, deadline_s=5.0)
    assert sent(job) == job
    assert decode(JobSpec, encode(job)) == job


def test_what_is_not_set_has_its_default() -> None:
    said = pb.TrainingSpec(model="digits", code=pb.TrainingCode(entry="recipe"), min_workers=2, epochs=1)
    said.code.artifact.manifest_digest = DIGEST
    said.data.dataset.url = "s3://b/x.csv"
    assert convert.spec_from_pb(pb.JobSpec(training=said)).training == replace(PLAIN, min_workers=2, max_workers=2)


def test_whether_a_script_hangs_is_not_looked_at_unless_it_is_said() -> None:
    for stall_s in (0.0, 5.0):
        script = JobSpec(training=replace(SCRIPT, stall_s=stall_s))
        assert sent(script) == script


def test_a_record_of_no_kind_is_malformed() -> None:
    for record in (b"{}", b'{"inference": {"model": "m", "dataset": {}}}'):
        with pytest.raises(MalformedError, match="a job is of one kind"):
            decode(JobSpec, record)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 1 << 70}, "batch_size: expected an integer of at most 64 bits"),
        ({"max_workers": "two"}, "max_workers: expected an integer of at most 32 bits, got 'two'"),
        (
            {"data": replace(PLAIN.data, features=cast("tuple[str, ...]", (1,)))},
            r"features\[0\]: expected text that UTF-8 can encode, got 1",
        ),
        (
            {"code": replace(PLAIN.code, parameters=(("lr", cast(str, 0.1)),))},
            "value: expected text that UTF-8 can encode, got 0.1",
        ),
    ],
)
def test_what_a_message_cannot_hold_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        convert.spec_to_pb(JobSpec(training=replace(PLAIN, **changes)))


def test_an_unknown_precision_is_named() -> None:
    with pytest.raises(InvalidInputError, match="precision: expected one of FP32, BF16, got number 9"):
        convert.spec_from_pb(pb.JobSpec(training=pb.TrainingSpec(precision=9)))  # type: ignore[arg-type]


def test_how_a_training_goes_arrives_as_it_was() -> None:
    going = TrainingProgress(5, 10, 1, 2, 12.5, ("w1", "w2"), 1, 4, 4, 1090.5, "the store is full")
    measured = (Measurement(5, {"loss": 0.25, "accuracy": 0.5}), Measurement(4, {"validation loss": math.inf}))
    job = Job(
        "job-1",
        "acme",
        JobSpec(training=FULL),
        JobState.FAILED,
        progress=Progress(training=going),
        version="7",
        measurements=measured,
        traceback="ValueError: odd",
        checkpoint=Checkpoint(DIGEST, 4, 1, 32),
    )
    event = JobEvent(EventKind.PROGRESS, 3, 9.5, job, measurements=measured[:1])
    told = pb.WatchJobResponse.FromString(convert.job_event_to_pb(event).SerializeToString())
    assert convert.job_event_from_pb(told) == event
    assert convert.job_from_pb(convert.job_to_pb(replace(job, progress=Progress()))).progress.training is None
    assert convert.job_from_pb(convert.job_to_pb(replace(job, checkpoint=None))).checkpoint is None
