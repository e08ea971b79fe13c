from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from modelyard.v1 import jobs_pb2 as pb
from tests.unit.fakes import FakeSuite

Run = Callable[..., str]


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    path = tmp_path / "digits"
    path.mkdir()
    (path / "recipe.py").write_text("class Digits: ...")
    return str(path)


def test_train(fakes: FakeSuite, run: Run, recipe: str) -> None:
    said = run("train", recipe, "--data", "s3://b/x.csv", "--workers", "2", "--set", "lr=0.1", "--detach")
    assert said == "submitted job-1: digits\n"
    training = fakes.jobs.requests[-1].spec.training
    assert (training.model, training.code.entry, training.data.dataset.url) == ("digits", "recipe", "s3://b/x.csv")
    assert [(p.name, p.value) for p in training.code.parameters] == [("lr", "0.1")]
    assert (training.epochs, training.steps, training.batch_size) == (1, 0, 32)
    assert (training.min_workers, training.max_workers, training.parallelism) == (
        1,
        2,
        pb.Parallelism(shard=1, tensor=1, pipeline=1),
    )


def test_train_with_all_options(fakes: FakeSuite, run: Run, recipe: str) -> None:
    data = ("--data", "s3://b/x", "--validation", "s3://b/y", "--kind", "csv", "--features", "a,b", "--target", "y")
    code = ("--model", "net", "--entry", "recipe:Digits", "--set", "lr=0.1", "--set", "deep=true")
    size = ("--steps", "9", "--batch-size", "64", "--accumulation", "2", "--precision", "bf16", "--seed", "7")
    shape = ("--workers", "8", "--min-workers", "4", "--parallel", "shard=2,tensor=2")
    best = ("--metric", "accuracy", "--mode", "max", "--patience", "3", "--min-delta", "0.5")
    saved = ("--checkpoint-steps", "5", "--checkpoint-seconds", "60", "--keep-last", "1")
    ends = ("--alias", "prod", "--deploy", "--if-better", "--priority", "0", "--deadline", "60", "--request-id", "one")
    run("train", recipe, *data, *code, *size, *shape, *best, *saved, *ends, "--detach")
    request = fakes.jobs.requests[-1]
    training = request.spec.training
    assert (request.request_id, request.spec.priority, request.spec.deadline_s) == ("one", 0, 60)
    assert (training.model, training.code.entry) == ("net", "recipe:Digits")
    assert [(p.name, p.value) for p in training.code.parameters] == [("lr", "0.1"), ("deep", "true")]
    read = training.data
    assert (read.dataset.kind, read.validation.url, [*read.features], read.target) == (
        "csv",
        "s3://b/y",
        ["a", "b"],
        "y",
    )
    assert (training.epochs, training.steps, training.batch_size, training.accumulation) == (0, 9, 64, 2)
    assert (training.precision, training.seed) == (pb.TrainingSpec.BF16, 7)
    assert (training.min_workers, training.max_workers) == (4, 8)
    assert training.parallelism == pb.Parallelism(shard=2, tensor=2, pipeline=1)
    assert training.objective == pb.Objective(metric="accuracy", higher_is_better=True, patience=3, min_delta=0.5)
    assert training.checkpoints == pb.Checkpoints(every_steps=5, every_s=60, keep_last=1)
    assert training.release == pb.Release(alias="prod", deploy=True, if_better=True)


def test_it_is_followed_until_it_has_ended(fakes: FakeSuite, run: Run, recipe: str) -> None:
    fakes.jobs.end()
    said = run("train", recipe, "--data", "s3://b/x.csv").splitlines()
    assert (said[0], said[-1]) == ("submitted job-1: digits", "job-1 SUCCEEDED")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--set", "lr"), "--set: expected key=value, got 'lr'"),
        (("--parallel", "shard=two"), "--parallel: expected data, shard, tensor, pipeline as shard=2; got shard=two"),
        (("--parallel", "row=2"), "--parallel: expected data, shard, tensor, pipeline as shard=2; got row=2"),
        (("--workers", "3", "--parallel", "shard=2"), "expected a multiple of 2 ranks, got 3"),
        (("--epochs", "1", "--steps", "2"), "expected a number of epochs or of steps, got both: 1 and 2"),
        (("--entry", "train.py"), "expected train.py for entry 'train.py'; there is none"),
    ],
)
def test_what_makes_no_sense_is_named(
    fakes: FakeSuite, fail: Callable[..., str], recipe: str, options: tuple[str, ...], message: str
) -> None:
    assert message in fail("train", recipe, "--data", "s3://b/x.csv", *options)
    assert fakes.jobs.calls["SubmitJob"] == 0
