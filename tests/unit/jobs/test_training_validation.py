from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from modelyard.errors import InvalidInputError, PreconditionError
from modelyard.jobs.dataset import Artifact, Dataset
from modelyard.jobs.dataset_validation import MOST_NAMES_BYTES
from modelyard.jobs.spec import BatchInference, JobSpec
from modelyard.jobs.training import Checkpoints, Code, Objective, Parallelism, Release, TrainingData, TrainingSpec
from modelyard.jobs.validation import check_spec

DIGEST = "ab" * 32
CODE = Code(Artifact(DIGEST), "recipe:Digits", (("lr", "0.1"),))
ROWS = Dataset(artifact=Artifact(DIGEST, "rows.npz"))
DATA = TrainingData(ROWS)
SPEC = TrainingSpec("digits", CODE, DATA, epochs=3)
SCRIPT = replace(SPEC, code=Code(Artifact(DIGEST), "a/train.py"), epochs=0)


def refused(spec: TrainingSpec, **changes: Any) -> str:
    with pytest.raises(InvalidInputError) as error:
        check_spec(JobSpec(training=replace(spec, **changes)))
    return error.value.message


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"epochs": 0, "steps": 5},
        {"code": replace(CODE, entry="a.b:C")},
        {"code": replace(CODE, entry="recipe", parameters=())},
        {"data": TrainingData(ROWS, held_out=0.1, features=("a", "b"), target="y")},
        {"data": TrainingData(ROWS, Dataset(url="s3://b/x.csv"))},
        {"min_workers": 2, "max_workers": 6, "parallelism": Parallelism(0, 2), "batch_size": 6},
        {"min_workers": 4, "max_workers": 8, "parallelism": Parallelism(2, 1, 2, 2)},
        {"objective": Objective("accuracy", True, 3, 0.01), "release": Release("prod", True, True)},
        {"checkpoints": Checkpoints(100, 60.0, 1)},
    ],
)
def test_what_makes_sense_is_accepted(changes: dict[str, Any]) -> None:
    check_spec(JobSpec(training=replace(SPEC, **changes)))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"data": TrainingData()},
        {"data": TrainingData(Dataset(), ROWS)},
        {"code": replace(SCRIPT.code, parameters=(("batch-size", "8"), ("amp", "")), max_restarts=0)},
        {"min_workers": 2, "max_workers": 4},
        {"resume_from": "job-1", "checkpoints": Checkpoints(0, 5.0, 1), "stall_s": 0.0},
    ],
)
def test_a_script_that_makes_sense_is_accepted(changes: dict[str, Any]) -> None:
    check_spec(JobSpec(training=replace(SCRIPT, **changes)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": TrainingData(replace(ROWS, url="s3://b"))}, "expected one of artifact, url, inline; got artifact"),
        ({"data": TrainingData(ROWS, Dataset())}, "job: validation: expected one of artifact, url, inline; got none"),
        ({"data": TrainingData(ROWS, target="y")}, "target or balanced: a script reads its data itself"),
        ({"data": TrainingData(ROWS, held_out=0.5)}, "expected no held_out, features,"),
        (
            {"batch_size": 64},
            "job: expected no batch_size, accumulation, precision or seed: a script takes its own, as parameters",
        ),
        ({"accumulation": 2}, "job: expected no batch_size, accumulation, precision or seed"),
        ({"precision": type(SPEC.precision).BF16}, "job: expected no batch_size, accumulation, precision or seed"),
        ({"seed": 7}, "job: expected no batch_size, accumulation, precision or seed"),
        ({"checkpoints": Checkpoints(1)}, "job: checkpoints: every_steps: expected none: nobody knows of a script's"),
        ({"parallelism": Parallelism(1)}, "job: parallelism: expected none: a script shares the work"),
        ({"parallelism": Parallelism(tensor=2), "min_workers": 2, "max_workers": 2}, "job: parallelism: expected none"),
        ({"code": replace(SCRIPT.code, parameters=(("--lr", "1"),))}, "expected the name of a keyword, got '--lr'"),
        ({"code": replace(SCRIPT.code, parameters=(("lr=1", ""),))}, "expected the name of a keyword, got 'lr=1'"),
        ({"code": replace(SCRIPT.code, max_restarts=-1)}, "job: max_restarts: expected 0 to 1000, got -1"),
        ({"data": TrainingData(ROWS, balanced=True)}, "job: expected no held_out, features, target or balanced"),
        ({"epochs": 1}, "expected no epochs, steps or patience: a script ends by itself"),
    ],
)
def test_what_makes_no_sense_for_a_script_is_named(changes: dict[str, Any], message: str) -> None:
    assert message in refused(SCRIPT, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": ""}, "model name: expected 1 to 120 characters, got an empty string"),
        (
            {"code": replace(CODE, artifact=Artifact("x"))},
            "job: code: expected the manifest's sha256 in 64 hex digits, got 'x'",
        ),
        (
            {"code": replace(CODE, entry="a b")},
            "job: entry: expected module[:Class] of a recipe, or the path of a script.py; got 'a b'",
        ),
        (
            {"code": replace(CODE, entry="../train.py")},
            "job: entry: expected a path within the artifact, got '../train.py'",
        ),
        (
            {"code": replace(CODE, parameters=(("--lr", "1"),))},
            "job: parameters: expected the name of a keyword, got '--lr'",
        ),
        (
            {"code": replace(CODE, parameters=(("lr", "1"), ("lr", "2")))},
            "job: parameters: expected each one once, got 'lr' twice",
        ),
        ({"data": TrainingData(Dataset())}, "job: dataset: expected one of artifact, url, inline; got none"),
        ({"data": TrainingData(ROWS, Dataset())}, "job: validation: expected one of artifact, url, inline; got none"),
        (
            {"data": TrainingData(ROWS, held_out=1.0)},
            "job: held_out: expected a fraction of at least 0 and below 1, got 1.0",
        ),
        (
            {"data": TrainingData(ROWS, held_out=float("nan"))},
            "job: held_out: expected a fraction of at least 0 and below 1, got nan",
        ),
        (
            {"data": TrainingData(ROWS, ROWS, 0.1)},
            "job: expected a validation dataset or a fraction that is held out, got both (0.1)",
        ),
        (
            {"data": TrainingData(ROWS, features=("a", "a"))},
            "job: features: expected each column once, by its name; got ['a', 'a']",
        ),
        (
            {"data": TrainingData(ROWS, features=("a", "y"), target="y")},
            "job: target: expected a column that is no feature, got 'y'",
        ),
        ({"epochs": 0}, "job: expected a number of epochs or of steps, got neither"),
        ({"steps": 9}, "job: expected a number of epochs or of steps, got both: 3 and 9"),
        ({"epochs": -1}, "job: epochs: expected 0 to 9223372036854775807, got -1"),
        ({"batch_size": 0}, "job: batch_size: expected 1 to 1073741824, got 0"),
        ({"accumulation": 33}, "job: accumulation: expected 1 to 32, got 33"),
        ({"seed": -1}, "job: seed: expected 0 to 9223372036854775807, got -1"),
        ({"min_workers": 3, "max_workers": 2}, "job: min_workers: expected at most max_workers, 2; got 3"),
        ({"max_workers": 0}, "job: max_workers: expected 1 to 10000, got 0"),
        ({"parallelism": Parallelism(0, 0)}, "job: parallelism: shard: expected 1 to 10000, got 0"),
        (
            {"max_workers": 3, "parallelism": Parallelism(0, 2)},
            "job: max_workers: parallelism: data any x shard 2 x tensor 1 x pipeline 1: "
            "expected a multiple of 2 ranks, got 3",
        ),
        (
            {"max_workers": 8, "parallelism": Parallelism(2, 1, 2)},
            "job: max_workers: parallelism: data 2 x shard 1 x tensor 2 x pipeline 1: expected 4 ranks, got 8",
        ),
        (
            {"min_workers": 3, "max_workers": 4, "parallelism": Parallelism(0, 2)},
            "job: min_workers: expected whole replicas, which take 2 each; got 3",
        ),
        (
            {"max_workers": 4, "batch_size": 3},
            "job: batch_size: expected at least 4, a sample for each part of a step; got 3",
        ),
        ({"checkpoints": Checkpoints(keep_last=0)}, "job: checkpoints: keep_last: expected 1 to 1000, got 0"),
        (
            {"checkpoints": Checkpoints(every_s=float("inf"))},
            "job: checkpoints: every_s: expected a finite number of at least 0, got inf",
        ),
        ({"objective": Objective("")}, "job: objective: expected the name of a metric, got an empty string"),
        ({"objective": Objective(patience=-1)}, "job: objective: patience: expected 0 to 9223372036854775807, got -1"),
        (
            {"stall_s": math.inf},
            "job: stall_s: expected a finite number of at least 0, got inf",
        ),
        (
            {"objective": Objective(min_delta=-0.5)},
            "job: objective: min_delta: expected a finite number of at least 0, got -0.5",
        ),
        (
            {"release": Release(if_better=True)},
            "job: release: expected an alias, or a deployment, if it is better; got neither",
        ),
    ],
)
def test_what_makes_no_sense_is_named(changes: dict[str, Any], message: str) -> None:
    assert refused(SPEC, **changes) == message


@pytest.mark.parametrize("changes", [{"epochs": 1}, {"steps": 1}, {"objective": Objective(patience=1)}])
def test_a_script_ends_by_itself(changes: dict[str, Any]) -> None:
    assert refused(SCRIPT, **changes) == "job: expected no epochs, steps or patience: a script ends by itself"


def test_a_spec_leaves_room_in_its_record() -> None:
    code = replace(CODE, parameters=(("text", "x" * MOST_NAMES_BYTES),))
    assert refused(SPEC, code=code).startswith(f"job: training: expected names of at most {MOST_NAMES_BYTES} bytes")


def test_a_job_is_of_one_kind() -> None:
    batch = BatchInference("digits", ROWS)
    none: dict[str, Any] = {}
    for kinds in (none, {"batch_inference": batch, "training": SPEC}):
        with pytest.raises(TypeError, match="a job is of one kind"):
            JobSpec(**kinds)
    assert JobSpec(batch).inference is batch
    training = JobSpec(training=SPEC)
    assert (training.model, JobSpec(batch).model) == ("digits", "digits")
    with pytest.raises(PreconditionError, match="expected a batch job"):
        _ = training.inference


@pytest.mark.parametrize(
    ("shape", "ranks", "data"), [(Parallelism(), 3, 3), (Parallelism(0, 2, 2), 8, 2), (Parallelism(2, 1, 1, 2), 4, 2)]
)
def test_replicas_are_as_many_as_ranks_make(shape: Parallelism, ranks: int, data: int) -> None:
    assert shape.resolved(ranks) == replace(shape, data=data)


def test_what_does_not_multiply_out_is_named() -> None:
    for shape, ranks, expected in ((Parallelism(3), 2, "3 ranks"), (Parallelism(0, 4), 2, "a multiple of 4 ranks")):
        with pytest.raises(InvalidInputError, match=f"expected {expected}, got 2"):
            shape.resolved(ranks)
