"""What becomes of the files that a script leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelyard import chunks
from modelyard.errors import InvalidInputError
from modelyard.jobs.dataset import Artifact, Dataset
from modelyard.jobs.gang import Charter
from modelyard.jobs.training import Code, TrainingData, TrainingSpec
from modelyard.rpc.publishing import Publication
from modelyard_worker.trainer.script.outcome import WEIGHTS_ALONE, Outcome, metrics

SPEC = TrainingSpec("numbers", Code(Artifact("c" * 64), "train.py"), TrainingData(Dataset(Artifact("d" * 64))))
CHARTER = Charter("job-1", "acme", SPEC, "secret")


class Registry:
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[dict[str, bytes], Publication]] = []

    def publish(self, directory: Path, said: Publication) -> str:
        assert chunks.guess_format(chunks.scan(directory))
        files = [path for path in directory.rglob("*") if path.is_file()]
        self.sent.append(({path.relative_to(directory).as_posix(): path.read_bytes() for path in files}, said))
        return str(len(self.sent))


@pytest.fixture
def output(tmp_path: Path) -> Path:
    (tmp_path / "output").mkdir()
    return tmp_path / "output"


def outcome(output: Path, registry: Registry) -> Outcome:
    return Outcome(CHARTER, output, output.parent / "staging", registry.publish)


def test_what_is_there_is_published_once(output: Path) -> None:
    (output / "model.onnx").write_bytes(b"onnx")
    (output / "labels").mkdir()
    (output / "labels/names.txt").write_bytes(b"a")
    (output / "metrics.json").write_text('{"accuracy": 0.5}')
    registry = Registry()
    made = outcome(output, registry)
    assert (made.publish(), made.publish()) == ("1", "1")
    [(files, said)] = registry.sent
    assert files.keys() == {"model.onnx", "labels/names.txt", "metrics.json"}
    assert (said.model, said.request, said.tenant, said.metrics) == ("numbers", "job-1", "acme", {"accuracy": 0.5})
    assert (said.lineage.job, said.lineage.dataset, said.labels) == ("job-1", "d" * 64, {"code": "c" * 64})
    assert said.description == "trained by job job-1"
    assert WEIGHTS_ALONE not in said.description
    assert outcome(output, registry).publish() == "2"  # of another rank, whose request the registry knows


def test_weights_alone_are_published_as_such_and_what_was_left_is_not_touched(output: Path) -> None:
    (output / "model.safetensors").write_bytes(b"weights")
    registry = Registry()
    assert outcome(output, registry).publish() == "1"
    [(files, said)] = registry.sent
    assert files.keys() == {"model.safetensors", "recipe.json"}
    assert json.loads(files["recipe.json"])["signature"] == {"inputs": [], "outputs": []}
    assert said.description.endswith(WEIGHTS_ALONE)
    assert [path.name for path in output.iterdir()] == ["model.safetensors"]


def test_weights_that_say_what_they_are_remain_as_they_are(output: Path) -> None:
    (output / "model.safetensors").write_bytes(b"weights")
    (output / "recipe.json").write_text("{}")
    registry = Registry()
    outcome(output, registry).publish()
    assert registry.sent[0][0]["recipe.json"] == b"{}"
    assert WEIGHTS_ALONE not in registry.sent[0][1].description


def test_of_nothing_no_version_comes(output: Path) -> None:
    (output / "metrics.json").write_text("{}")
    (output / "empty").mkdir()
    registry = Registry()
    assert (outcome(output, registry).publish(), registry.sent) == ("", [])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"a": 1, "b": NaN, "c": "x", "d": true, "acc@1": 2.5, "e": null}', {"a": 1.0, "acc_1": 2.5}),
        ("[1]", {}),
        ("{", {}),
        ("\xff", {}),
    ],
)
def test_numbers_by_name_are_metrics(tmp_path: Path, content: str, expected: dict[str, float]) -> None:
    (tmp_path / "metrics.json").write_bytes(content.encode("latin1"))
    assert metrics(tmp_path / "metrics.json") == expected
    assert metrics(tmp_path / "none") == {}


def test_there_are_not_too_many_metrics(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text(json.dumps({f"m{n}": n for n in range(200)}))
    assert len(metrics(tmp_path / "metrics.json")) == 100


def test_links_are_refused_wherever_they_lead(output: Path) -> None:
    (output / "model.onnx").write_bytes(b"onnx")
    for target in (".", "gone", "/"):
        (output / "last").symlink_to(target, target_is_directory=True)
        with pytest.raises(InvalidInputError, match="found a symbolic link"):
            outcome(output, Registry()).publish()
        (output / "last").unlink()
