from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from modelyard.cli.app import app
from modelyard.v1 import jobs_pb2 as pb
from tests.unit.fakes import FakeSuite

Run = Callable[..., str]
EXAMPLES = Path(__file__).parents[4] / "examples"


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
    run(
        "train",
        recipe,
        *data,
        *code,
        *size,
        *shape,
        *best,
        *saved,
        *ends,
        "--resume",
        "job-7",
        "--balanced",
        "--stall-seconds",
        "2.5",
        "--detach",
    )
    request = fakes.jobs.requests[-1]
    training = request.spec.training
    assert (request.request_id, request.spec.priority, request.spec.deadline_s) == ("one", 0, 60)
    assert (training.model, training.code.entry) == ("net", "recipe:Digits")
    assert [(p.name, p.value) for p in training.code.parameters] == [("lr", "0.1"), ("deep", "true")]
    read = training.data
    assert (read.balanced, training.stall_s) == (True, 2.5)
    assert (read.dataset.kind, read.validation.url, [*read.features], read.target) == (
        "csv",
        "s3://b/y",
        ["a", "b"],
        "y",
    )
    assert (training.epochs, training.steps, training.batch_size, training.accumulation) == (0, 9, 64, 2)
    assert (training.precision, training.seed, training.resume_from) == (pb.TrainingSpec.BF16, 7, "job-7")
    assert (training.min_workers, training.max_workers) == (4, 8)
    assert training.parallelism == pb.Parallelism(shard=2, tensor=2, pipeline=1)
    assert training.objective == pb.Objective(metric="accuracy", higher_is_better=True, patience=3, min_delta=0.5)
    assert training.checkpoints == pb.Checkpoints(every_steps=5, every_s=60, keep_last=1)
    assert training.release == pb.Release(alias="prod", deploy=True, if_better=True)


def test_the_help_is_in_sections_and_its_examples_run(
    fakes: FakeSuite, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    told = run("train", "--help")
    assert max(map(len, told.splitlines())) <= 80
    for title in ("Arguments:", "What is run:", "What it learns from:", "Checkpoints:", "Server and output:"):
        assert f"\n{title}\n" in told
    assert "passes over the data  [default: 1]" in told
    (tmp_path / "examples").symlink_to(EXAMPLES)
    for name in ("train.npz", "held_out.npz", "train.py"):
        (tmp_path / name).write_bytes(b"any")
    monkeypatch.chdir(tmp_path)
    examples = told.partition("Examples:")[2].replace("\\\n", " ").splitlines()
    commands = [shlex.split(line) for line in examples if line.strip().startswith("modelyard train")]
    for command in commands:
        run(*command[1:], "--detach")
    assert len(commands) == len(fakes.jobs.requests) == 3


def test_train_a_script(fakes: FakeSuite, run: Run, recipe: str) -> None:
    (Path(recipe) / "train.py").write_text("print(1)")
    said = ("--script", "train.py", "--workers", "2", "--set", "lr=0.1", "--set", "batch-size=8", "--set", "amp=")
    run("train", recipe, *said, "--detach")
    training = fakes.jobs.requests[-1].spec.training
    assert (training.code.entry, training.code.max_restarts, training.max_workers) == ("train.py", 3, 2)
    assert [(p.name, p.value) for p in training.code.parameters] == [("lr", "0.1"), ("batch-size", "8"), ("amp", "")]
    assert not training.data.HasField("dataset")
    run("train", recipe, "--entry", "train.py", "--max-restarts", "0", "--data", "s3://b/x", "--detach")
    training = fakes.jobs.requests[-1].spec.training
    assert (training.code.entry, training.code.max_restarts, training.data.dataset.url) == ("train.py", 0, "s3://b/x")


def test_it_is_followed_until_it_has_ended(fakes: FakeSuite, run: Run, recipe: str) -> None:
    fakes.jobs.end()
    said = run("train", recipe, "--data", "s3://b/x.csv").splitlines()
    assert (said[0], said[-1]) == ("submitted job-1: digits", "job-1 SUCCEEDED")


def test_how_it_goes_is_told_line_by_line_and_what_came_of_it(fakes: FakeSuite, run: Run, recipe: str) -> None:
    going = pb.TrainingProgress(step=5, steps=10, samples_per_second=12.5, members=["w1", "w2"])
    event = fakes.jobs.tell("PROGRESS", "RUNNING", training=going)
    event.measurements.add(step=5, values={"loss": 0.25})
    fakes.jobs.end(training=pb.TrainingProgress(step=10, steps=10))
    said = run("train", recipe, "--data", "s3://b/x.csv").splitlines()
    assert said[1].partition("  ")[2] == "RUNNING: step 5 of 10, loss 0.25, 12.5 samples/s, 2 workers"
    assert said[2:] == ["job-1 SUCCEEDED", "step 10 of 10"]
    told = [json.loads(line) for line in run("train", recipe, "--data", "s3://b/x.csv", "--json").splitlines()]
    assert told[1]["measurements"] == [{"step": 5, "values": {"loss": 0.25}}]
    assert told[1]["job"]["progress"]["training"]["members"] == ["w1", "w2"]


def test_a_failure_is_told_with_its_traceback(fakes: FakeSuite, recipe: str) -> None:
    fakes.jobs.end("FAILED", "it raised in step 3")
    arguments = ["train", recipe, "--data", "s3://b/x.csv", "--detach"]
    runner = CliRunner(env={"MODELYARD_ADDRESS": fakes.address})
    assert runner.invoke(app, arguments).exit_code == 0
    job = fakes.jobs.jobs["job-1"]
    job.traceback = "Traceback:\n  recipe.py\nValueError: odd\n"
    job.checkpoint.step = 2
    result = runner.invoke(app, ["jobs", "watch", "job-1"])
    assert result.exit_code == 1
    told = ["job-1 FAILED", "Traceback:", "  recipe.py", "ValueError: odd"]
    assert result.stdout.splitlines() == [*told, "--resume job-1 goes on from its checkpoint at step 2"]
    assert result.stderr == "error: job-1 failed: it raised in step 3\n"


def test_of_a_script_checkpoints_are_counted_not_steps(fakes: FakeSuite, recipe: str) -> None:
    (Path(recipe) / "train.py").write_text("print(1)")
    fakes.jobs.end("FAILED", "it hangs")
    runner = CliRunner(env={"MODELYARD_ADDRESS": fakes.address})
    assert runner.invoke(app, ["train", recipe, "--script", "train.py", "--detach"]).exit_code == 0
    fakes.jobs.jobs["job-1"].checkpoint.step = 2
    told = runner.invoke(app, ["jobs", "watch", "job-1"]).stdout.splitlines()
    assert told == ["job-1 FAILED", "--resume job-1 goes on from its checkpoint 2"]


def test_jobs_that_train_are_listed_and_shown(fakes: FakeSuite, run: Run, recipe: str) -> None:
    run("train", recipe, "--data", "s3://b/x.csv", "--detach", "--memory", "2GiB", "--gpu", "1", "--cpu", "1.5")
    needs = fakes.jobs.requests[-1].spec.training.resources
    assert (needs.cpu, needs.memory_bytes, needs.gpu) == (1.5, 2 << 30, 1)
    job = fakes.jobs.jobs["job-1"]
    job.state, job.version = pb.Job.RUNNING, "3"
    job.progress.training.MergeFrom(pb.TrainingProgress(step=5, steps=9, samples_per_second=50, checkpoint_step=4))
    job.measurements.add(step=5, values={"loss": 0.25})
    line = " ".join(run("jobs", "ls").splitlines()[-1].split())
    assert line == "job-1 digits RUNNING step 5 of 9 50 samples/s acme 2023-11-14 22:13:20"
    shown = run("jobs", "show", "job-1")
    for part in ("step 5 of 9", "loss 0.25", "at step 4", "3"):
        assert part in shown
    assert "rows" not in shown
    job.checkpoint.MergeFrom(pb.Checkpoint(digest="d" * 64, step=4, epoch=1, offset=7))
    job.progress.training.checkpoint_failure, job.reason = "the store is full", "it was not deployed: why"
    shown = run("jobs", "show", "job-1")
    assert "at step 4; no later one: the store is full" in shown
    told = json.loads(run("jobs", "show", "job-1", "--json"))
    assert (told["checkpoint"], told["version"], told["reason"]) == (
        {"digest": "d" * 64, "step": 4, "epoch": 1, "offset": 7},
        "3",
        "it was not deployed: why",
    )


def test_the_logs_of_a_job(fakes: FakeSuite, run: Run) -> None:
    name = "job-0123456789abcdef0123"
    said = run("logs", name)
    assert said.startswith(f"==> worker-0 {name}@1 <==\nloading\n")
    assert fakes.scheduler.asked_logs[-1].job == name
    run("logs", "job-1")
    assert (fakes.scheduler.asked_logs[-1].job, fakes.scheduler.asked_logs[-1].model) == ("", "job-1")


def test_why_a_job_waits(fakes: FakeSuite, run: Run, recipe: str) -> None:
    run("train", recipe, "--data", "s3://b/x.csv", "--detach")
    name = "job-0123456789abcdef0123"
    fakes.jobs.jobs[name] = pb.Job()
    fakes.jobs.jobs[name].CopyFrom(fakes.jobs.jobs["job-1"])
    fakes.jobs.jobs[name].reason = "waits for workers"
    assert run("why", name) == "QUEUED: waits for workers\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--set", "lr"), "--set: expected key=value, got 'lr'"),
        (("--memory", "4Gb"), "--memory: expected a size such as 512MiB or 4GiB, got '4Gb'"),
        (("--epochs", "-1"), "epochs: expected "),
        (("--workers", "0"), "workers: expected "),
        (("--gpu", "2"), "gpu: expected "),
        (("--keep-last", "0"), "keep_last: expected "),
        (("--stall-seconds", "0"), "--stall-seconds: expected at least 1, got 0"),
        (("--patience", "-1"), "patience: expected "),
        (("--parallel", "shard"), "--parallel: expected data, shard, tensor, pipeline as shard=2; got shard"),
        (("--parallel", "shard=two"), "--parallel: expected data, shard, tensor, pipeline as shard=2; got shard=two"),
        (("--parallel", "row=2"), "--parallel: expected data, shard, tensor, pipeline as shard=2; got row=2"),
        (("--workers", "3", "--parallel", "shard=2"), "expected a multiple of 2 ranks, got 3"),
        (("--epochs", "1", "--steps", "2"), "expected a number of epochs or of steps, got both: 1 and 2"),
        (("--entry", "train.py"), "expected train.py for entry 'train.py'; there is none"),
        (("--script", "train"), "--script: expected the path of a .py file within the directory, got 'train'"),
        (("--script", "train.py", "--entry", "recipe"), "within the directory, got --entry recipe as well"),
    ],
)
def test_what_makes_no_sense_is_named(
    fakes: FakeSuite, fail: Callable[..., str], recipe: str, options: tuple[str, ...], message: str
) -> None:
    assert message in fail("train", recipe, "--data", "s3://b/x.csv", *options)
    assert "--data: expected a file, a directory of images, a URL, or sha256:DIGEST; got none" in fail("train", recipe)
    assert fakes.jobs.calls["SubmitJob"] == 0
