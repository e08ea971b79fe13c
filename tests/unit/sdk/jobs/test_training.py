from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import modelyard
from modelyard.aio import Client
from modelyard.errors import InvalidInputError
from modelyard.jobs.job import Job
from modelyard.jobs.spec import Artifact, Dataset
from modelyard.jobs.training import Checkpoints, Objective, Parallelism, Precision, Release
from modelyard.sdk.jobs import bundle
from modelyard.sdk.jobs.training_options import TrainingJobOptions
from tests.unit.fakes import FakeSuite

CODE, ROWS = Artifact("0" * 64), Dataset(url="s3://b/x.csv")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A directory with a recipe, what it imports, and what was made by running it."""
    for name in ("recipe.py", "net/layers.py", "net/__pycache__/layers.pyc", ".git/HEAD", "labels.txt"):
        path = tmp_path / "digits" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "digits"


def files(suite: FakeSuite, artifact: Artifact) -> list[str]:
    manifest = json.loads(suite.registry.chunks[artifact.manifest_digest])
    return [file["path"] for file in manifest["files"]]


async def test_code_and_data_are_sent(fakes: FakeSuite, client: Client, recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("x,y\n1,2\n")
    options = TrainingJobOptions(parameters={"lr": 0.1}, workers=2, target="y", request_id="one")
    job = await client.jobs.train("digits", recipe, tmp_path / "train.csv", options, validation="s3://b/held.csv")
    training = job.spec.training
    assert training
    assert files(fakes, training.code.artifact) == ["labels.txt", "net/layers.py", "recipe.py"]
    assert (training.code.entry, training.code.parameters) == ("recipe", (("lr", "0.1"),))
    assert training.data.dataset.artifact
    assert files(fakes, training.data.dataset.artifact) == ["train.csv"]
    assert training.data.validation == Dataset(url="s3://b/held.csv")
    assert (training.epochs, training.min_workers, training.max_workers) == (1, 1, 2)
    again = await client.jobs.train("digits", recipe, tmp_path / "train.csv", options, validation="s3://b/held.csv")
    assert again.id == job.id


async def test_a_script_may_have_any_data_or_none(
    fakes: FakeSuite, client: Client, recipe: Path, tmp_path: Path
) -> None:
    (recipe / "train.py").write_text("print(1)")
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/a.bin").write_bytes(b"a")
    options = TrainingJobOptions("train.py", {"amp": "", "batch-size": 8}, max_restarts=1)
    alone = (await client.jobs.train("digits", recipe, options=options)).spec.training
    assert alone
    assert (alone.data.dataset, alone.code.max_restarts) == (Dataset(), 1)
    assert alone.code.parameters == (("amp", ""), ("batch-size", "8"))
    fed = (await client.jobs.train("digits", recipe, tmp_path / "corpus", options)).spec.training
    assert fed
    assert fed.data.dataset.artifact
    assert files(fakes, fed.data.dataset.artifact) == ["a.bin"]


async def test_nothing_is_sent_of_what_makes_no_sense(fakes: FakeSuite, client: Client, recipe: Path) -> None:
    given: list[tuple[dict[str, Any], str]] = [
        ({"workers": 3, "parallelism": Parallelism(shard=2)}, "expected a multiple of 2 ranks, got 3"),
        ({"min_workers": 3}, "min_workers: expected at most max_workers, 1; got 3"),
        ({"entry": "other"}, "expected other.py or other/__init__.py for entry 'other'; there is none"),
        ({"entry": "train.py"}, "expected train.py for entry 'train.py'; there is none"),
        ({"kind": "xls"}, "expected a kind of"),
    ]
    for said, message in given:
        with pytest.raises(InvalidInputError) as error:
            await client.jobs.train("digits", recipe, "s3://b/x", TrainingJobOptions(**said))
        assert message in error.value.message
    with pytest.raises(InvalidInputError, match=r"expected a validation dataset or held_out, got both \(0.5\)"):
        await client.jobs.train("digits", recipe, "s3://b/x", TrainingJobOptions(held_out=0.5), validation="s3://b/y")
    with pytest.raises(InvalidInputError, match="expected the directory of a recipe or a script"):
        await client.jobs.train("digits", recipe / "recipe.py", "s3://b/x")
    with pytest.raises(InvalidInputError, match="job: dataset: expected one of artifact, url, inline; got none"):
        await client.jobs.train("digits", recipe)
    assert fakes.jobs.calls["SubmitJob"] == len(fakes.registry.uploads) == 0


def test_too_much_code_is_named(tmp_path: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "MOST_BYTES", 20)
    (recipe / "data.bin").write_bytes(bytes(100))
    with pytest.raises(InvalidInputError, match=r"the largest file is data.bin: are these data\?"):
        bundle.copy(recipe, tmp_path / "out", "recipe")


def test_all_that_can_be_said() -> None:
    said = TrainingJobOptions(
        "train:Net",
        {"deep": True, "name": "5"},
        "csv",
        None,
        ["a"],
        "y",
        0.5,
        2,
        0,
        64,
        3,
        "BF16",
        7,
        8,
        4,
        Parallelism(0, 2, 2),
        Checkpoints(5, 6.0, 1),
        "accuracy",
        "max",
        2,
        0.5,
        Release("prod", True, True),
        1,
        9.0,
    )
    spec = said.spec("digits", CODE, ROWS)
    training = spec.training
    assert training
    assert (spec.priority, spec.deadline_s, training.code.entry) == (1, 9.0, "train:Net")
    assert training.code.parameters == (("deep", "true"), ("name", "5"))
    assert (training.data.features, training.data.target, training.data.held_out) == (("a",), "y", 0.5)
    assert (training.epochs, training.steps, training.batch_size, training.accumulation) == (2, 0, 64, 3)
    assert (training.precision, training.seed) == (Precision.BF16, 7)
    assert (training.min_workers, training.max_workers, training.parallelism) == (4, 8, Parallelism(0, 2, 2))
    assert (training.checkpoints, training.release) == (Checkpoints(5, 6.0, 1), Release("prod", True, True))
    assert training.objective == Objective("accuracy", True, 2, 0.5)
    said.check("digits")


def test_labels_are_balanced_where_that_is_asked_for() -> None:
    for balanced in (False, True):
        training = TrainingJobOptions(target="y", balanced=balanced).spec("digits", CODE, ROWS).training
        assert training
        assert training.data.balanced is balanced


@pytest.mark.parametrize(
    ("entry", "said", "stall_s"),
    [("recipe", None, 600.0), ("recipe", 5.0, 5.0), ("train.py", None, 0.0), ("train.py", 5.0, 5.0)],
)
def test_a_script_is_looked_at_whether_it_hangs_only_if_it_is_said(
    entry: str, said: float | None, stall_s: float
) -> None:
    training = TrainingJobOptions(entry, stall_s=said).spec("digits", CODE, ROWS).training
    assert training
    assert training.stall_s == stall_s


def test_it_goes_on_from_a_job_or_from_one_of_that_id() -> None:
    job = Job("job-7", "acme", TrainingJobOptions().spec("digits", CODE, ROWS))
    for source in (job, job.id):
        training = TrainingJobOptions(resume_from=source).spec("digits", CODE, ROWS).training
        assert training
        assert training.resume_from == "job-7"


def test_what_is_not_said_follows_from_the_rest() -> None:
    script = TrainingJobOptions("train.py", workers=2).spec("digits", CODE, ROWS).training
    assert script
    assert (script.epochs, script.steps) == (0, 0)
    cut = TrainingJobOptions(workers=4, parallelism=Parallelism(shard=2)).spec("digits", CODE, ROWS).training
    assert cut
    assert (cut.min_workers, cut.epochs) == (2, 1)
    assert modelyard.TrainingJobOptions is TrainingJobOptions


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"precision": "fp16"}, "precision: expected fp32 or bf16, got 'fp16'"),
        ({"mode": "least"}, "mode: expected min or max, got 'least'"),
        ({"parameters": {"lr": {1}}}, "parameters: expected texts, or what JSON can hold"),
    ],
)
def test_what_makes_no_sense_is_named(said: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError) as error:
        TrainingJobOptions(**said).check("digits")
    assert message in error.value.message
