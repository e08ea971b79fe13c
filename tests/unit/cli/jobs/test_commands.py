from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelyard.errors import ExhaustedError
from modelyard.v1 import jobs_pb2 as pb
from tests.unit.fakes import FakeSuite

Run = Callable[..., str]
RunJson = Callable[..., Any]


def test_submit(digits: FakeSuite, run: Run, run_json: RunJson, rows: str) -> None:
    assert run("jobs", "submit", "digits", rows, "--tenant", "acme") == "submitted job-1: digits@1\n"
    plain = digits.jobs.requests[-1].spec
    assert (plain.priority, plain.max_attempts, plain.max_dead_rows, plain.deadline_s) == (5, 3, 1000, 0.0)
    assert plain.batch_inference.output.format == pb.PARQUET
    assert not plain.batch_inference.dataset.HasField("images")
    assert "acme" in digits.jobs.tenants
    job = run_json("jobs", "submit", "digits@prod", rows)
    assert (job["id"], job["state"], job["progress"]["rows"]) == ("job-2", "QUEUED", -1)
    assert not {"asked", "found", "outcomes", "retrying"} & set(job)


def test_submit_with_all_options(digits: FakeSuite, run: Run) -> None:
    limits = ("--priority", "0", "--deadline", "60", "--max-attempts", "2", "--max-dead-rows", "0")
    columns = ("--map", "x=a,b", "--map", "mask=*", "--cast", "--key", "id", "--shard-by", "user", "--shards", "8")
    pixels = ("--scale", "1/4", "--mean", "0.5,0.5,0.25", "--std", "1,2,3", "--channels-first")
    images = ("--kind", "images", "--resize", "256", "--crop", "224", *pixels)
    named = ("--request-id", "nightly", "--format", "npy")
    run("jobs", "submit", "digits", "s3://bucket/rows", *limits, *columns, *images, *named)
    request = digits.jobs.requests[-1]
    spec, inference = request.spec, request.spec.batch_inference
    assert (spec.priority, spec.deadline_s, spec.max_attempts, spec.max_dead_rows) == (0, 60, 2, 0)
    assert [(c.input, list(c.columns)) for c in inference.columns] == [("x", ["a", "b"]), ("mask", ["*"])]
    assert (inference.cast, inference.output.format, inference.output.key_column) == (True, pb.NPY, "id")
    assert (inference.sharding.key_column, inference.sharding.shards) == ("user", 8)
    assert (inference.dataset.url, inference.dataset.kind) == ("s3://bucket/rows", "images")
    assert inference.dataset.images == pb.ImageOptions(
        resize=[256, 0], crop=[224, 224], scale=0.25, mean=[0.5, 0.5, 0.25], std=[1, 2, 3], channels_first=True
    )
    assert request.request_id == "nightly"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--map", "x"), "--map: expected each input once, as INPUT=COLUMN"),
        (("--resize", "224x"), "--resize: expected pixels as 224 or 224x320, got '224x'"),
        (("--crop", "-1"), "--crop: expected pixels"),
        (("--scale", "1/0"), "--scale: expected a factor as 0.5 or 1/255, got '1/0'"),
        (("--mean", "1,2"), "--mean: expected three numbers as 0.5,0.5,0.5, got '1,2'"),
        (("--format", "csv"), "format: expected parquet or npy, got 'csv'"),
        (("--kind", "xls"), "expected a kind of npy"),
    ],
)
def test_options_that_make_no_sense(
    digits: FakeSuite, fail: Run, rows: str, options: tuple[str, ...], message: str
) -> None:
    assert message in fail("jobs", "submit", "digits", rows, *options)
    assert not digits.jobs.calls
    assert not digits.registry.calls


def test_ls_and_show(digits: FakeSuite, run: Run, run_json: RunJson, rows: str, fail: Run) -> None:
    assert run_json("jobs", "ls") == []
    for _ in range(3):
        run("jobs", "submit", "digits", rows)
    job = digits.jobs.jobs["job-2"]
    job.state = pb.Job.RUNNING
    job.progress.MergeFrom(pb.JobProgress(rows=2000, done_rows=500, rows_per_second=12.34, workers=["w1"], retries=3))
    lines = [" ".join(line.split()) for line in run("jobs", "ls").splitlines()]
    assert lines[1].split() == ["job", "model", "state", "done", "speed", "tenant", "submitted"]
    assert lines[4] == "job-2 digits@1 RUNNING 500 of 2,000 rows (25.0%) 12 rows/s acme 2023-11-14 22:13:20"
    assert [j["id"] for j in run_json("jobs", "ls", "--limit", "2", "--state", "queued")] == ["job-3", "job-1"]
    assert list(digits.jobs.requests[-1].states) == [pb.Job.QUEUED]
    run("jobs", "ls", "--model", "digits", "--of", "acme")
    assert (digits.jobs.requests[-1].model, digits.jobs.requests[-1].tenant) == ("digits", "acme")
    assert "--state: expected QUEUED, PLANNING" in fail("jobs", "ls", "--state", "gone")
    shown = run("jobs", "show", "job-2")
    for part in ("job-2", "500 of 2,000 rows (25.0%)", "w1", "0 running, 0 queued, 0 done"):
        assert part in shown
    assert run_json("jobs", "show", "job-2")["progress"]["retries"] == 3


def test_wishes(digits: FakeSuite, run: Run, run_json: RunJson, fail: Run, rows: str) -> None:
    run("jobs", "submit", "digits", rows)
    assert run("jobs", "pause", "job-1") == "job-1 PAUSED\n"
    assert run("jobs", "resume", "job-1") == "job-1 RUNNING\n"
    assert run_json("jobs", "cancel", "job-1")["state"] == "CANCELLING"
    digits.jobs.jobs["job-1"].state = pb.Job.FAILED
    for verb in ("pause", "resume", "cancel"):
        assert fail("jobs", verb, "job-1") == "error: job job-1: it is FAILED\n"
        assert "there is none" in fail("jobs", verb, "absent")
    digits.jobs.failures["SubmitJob"] = [ExhaustedError("acme has as much queued as it may")]
    assert fail("jobs", "submit", "digits", rows) == "error: acme has as much queued as it may\n"


def test_dead_and_retry(digits: FakeSuite, run: Run, run_json: RunJson, rows: str) -> None:
    run("jobs", "submit", "digits", rows)
    digits.jobs.letters += [
        pb.DeadLetter(task="r7-8", row=7, reason="odd\x1b[1m", failures=3),
        pb.DeadLetter(task="k0-1-4.r2-4", row=-1, reason="its worker died", deaths=8),
    ]
    lines = [" ".join(line.split()) for line in run("jobs", "dead", "job-1").splitlines()]
    assert lines[3:] == [r"7 r7-8 3 0 odd\x1b[1m", "k0-1-4.r2-4 0 8 its worker died"]
    assert [letter["row"] for letter in run_json("jobs", "dead", "job-1", "--limit", "1")] == [7]
    assert run("jobs", "retry", "job-1", "r7-8") == "job-1: 1 task to be executed again\n"
    assert digits.jobs.retried == ["r7-8"]
    assert run_json("jobs", "retry", "job-1") == {"job": "job-1", "retried": 3}


def test_results(
    digits: FakeSuite, run: Run, run_json: RunJson, fail: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    digits.jobs.files = {"": b"PAR1" * 512, "y": b"y", "a/z": b"z", "id": b"keys"}
    run("jobs", "submit", "digits", "s3://rows")
    assert run("jobs", "results", "job-1") == "job-1.parquet: 10 rows, 2 KiB\n"
    assert (tmp_path / "job-1.parquet").read_bytes() == b"PAR1" * 512
    run("jobs", "submit", "digits", "s3://rows", "--format", "npy", "--key", "id")
    (found,) = run_json("jobs", "results", "job-2", "--output", "y")
    assert (found["path"], found["results"]["rows"], found["results"]["etag"]) == ("y.npy", 10, "one")
    lines = run("jobs", "results", "job-2", "all").splitlines()
    assert lines == ["all/id.npy: 10 rows, 4 B", "all/y.npy: 10 rows, 1 B", "all/a_z.npy: 10 rows, 1 B"]
    assert (tmp_path / "all" / "a_z.npy").read_bytes() == b"z"
    assert "expected an output of" in fail("jobs", "results", "job-2", "--output", "absent")
    assert "expected that of a file" in fail("jobs", "results", "job-1", "all")
