"""Each Dockerfile, replayed in an empty folder: what it installs runs, and torch is in the worker's image alone."""

from __future__ import annotations

import re
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

from tests.conformance.dockerfile import Image, Replay, Stage, context_files, ignored, patterns, read

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("registry", "scheduler", "worker")
PACKAGES_OF_THE_WORKER = ("torch", "onnxruntime")

pytestmark = pytest.mark.timeout(900)  # the worker's image installs torch


@dataclass
class Built:
    """A service, its last stage and the image that the replay left."""

    service: str
    stage: Stage
    image: Image

    def python(self, *arguments: str) -> tuple[int, str]:
        """Run the image's python; return the exit status and all output."""
        done = self.image.run(["python", *arguments], {})
        return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module", params=[pytest.param(name, marks=pytest.mark.chaos) for name in SERVICES])
def built(request: pytest.FixtureRequest) -> Iterator[Built]:
    """One service's image, removed before the next is built; a build takes a minute, so `make chaos` does it."""
    stages = read(ROOT / "services" / request.param / "Dockerfile")
    with tempfile.TemporaryDirectory(prefix="modelyard-image-") as scratch:
        yield Built(request.param, stages[-1], Replay(ROOT, Path(scratch)).build(stages))


@pytest.fixture(params=SERVICES)
def stages(request: pytest.FixtureRequest) -> list[Stage]:
    """The stages of one service's Dockerfile."""
    return read(ROOT / "services" / request.param / "Dockerfile")


def test_final_stage_has_only_the_venv_and_an_account(stages: list[Stage]) -> None:
    builder, final = stages
    assert builder.base == final.base == "python:3.11-slim"
    assert [step.words for step in final.all("COPY")] == [["--from=builder", "/opt/venv", "/opt/venv"]]
    assert [step.words[0] for step in final.all("RUN")] == ["useradd"]
    assert not final.all("ADD")


def test_versions_are_those_that_were_tested(stages: list[Stage]) -> None:
    installs = [step.words for step in stages[0].all("RUN") if "install" in step.words]
    assert installs
    for words in installs:
        assert words[words.index("--constraint") + 1] == "constraints.txt"


def test_no_index_is_written_down_but_one_can_be_given(stages: list[Stage]) -> None:
    assert {"PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"} <= {step.text for step in stages[0].all("ARG")}
    assert not any("://" in step.text for stage in stages for step in stage.steps)


def test_the_worker_comes_in_two_variants_and_the_cpus_is_the_default() -> None:
    (builder, _) = read(ROOT / "services" / "worker" / "Dockerfile")
    (variant,) = [step.text for step in builder.all("ARG") if step.text.startswith("VARIANT")]
    assert variant == "VARIANT=cpu"
    assert builder.all("RUN")[-1].words[-1] == "./services/worker[$VARIANT,s3]"
    extras = tomllib.loads((ROOT / "services/worker/pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {name: [re.split(r"[\[>]", need)[0] for need in needs] for name, needs in extras.items()} == {
        "cpu": ["onnxruntime"],
        "cuda": ["onnxruntime-gpu"],
        "s3": ["s3fs"],
    }
    pinned = (ROOT / "constraints.txt").read_text().splitlines()
    versions = {line.partition("==")[2] for line in pinned if line.startswith("onnxruntime")}
    assert len(versions) == 1, "both builds are of one release"


def test_the_build_context_holds_nothing_but_what_images_need() -> None:
    tops = {file.parts[0] for file in context_files(ROOT)}
    assert tops <= {"constraints.txt", "pyproject.toml", "README.md", "modelyard", "services"}
    assert not [file for file in context_files(ROOT) if "__pycache__" in file.parts or ".egg-info" in str(file)]


def test_the_service_runs_from_the_venv_alone(built: Built) -> None:
    program, *arguments = built.stage.command
    assert [program, *arguments] == ["python", "-m", f"modelyard_{built.service}"]
    done = built.image.run([program, *arguments, "--help"], {})
    assert done.returncode == 0, done.stderr
    assert f"usage: python -m modelyard_{built.service}" in done.stdout
    status, prefix = built.python("-c", "import sys; print(sys.prefix)")
    assert (status, prefix.strip()) == (0, str(built.image.inside("/opt/venv")))


def test_the_health_check_is_there(built: Built) -> None:
    status, output = built.python("-m", "modelyard.health", "127.0.0.1:1", "--timeout-s", "1")
    assert (status, "no answer from 127.0.0.1:1" in output) == (1, True), output


@pytest.mark.parametrize("package", PACKAGES_OF_THE_WORKER)
def test_heavy_packages_are_in_the_worker_alone(built: Built, package: str) -> None:
    status, output = built.python("-c", f"import {package}")
    if built.service == "worker":
        assert status == 0, output
    else:
        assert f"No module named '{package}'" in output


def test_datasets_are_read_where_jobs_are_planned_and_executed(built: Built) -> None:
    status, output = built.python("-c", "import PIL, pyarrow.parquet, modelyard.datasets.remote, s3fs")
    assert (status == 0) is (built.service != "registry"), output


def test_other_services_are_not_in_the_image(built: Built) -> None:
    for other in set(SERVICES) - {built.service}:
        _, output = built.python("-c", f"import modelyard_{other}")
        assert f"No module named 'modelyard_{other}'" in output


def test_no_build_tool_is_in_the_venv(built: Built) -> None:
    programs = {path.name for path in built.image.inside("/opt/venv/bin").iterdir()}
    assert not programs & {"pip", "pip3", "cc", "gcc", "g++", "make", "cmake", "ninja", "wheel"}
    _, output = built.python("-c", "import pip")
    assert "No module named 'pip'" in output


def test_the_service_is_not_root_and_owns_where_it_writes(built: Built) -> None:
    home = built.image.accounts[built.image.user]
    assert int(built.image.user) > 0
    assert built.image.workdir == home
    places = [built.image.environment.get(name) for name in ("MODELYARD_STORE", "MODELYARD_DATA_DIR")]
    assert all(PurePosixPath(place).is_relative_to(home) for place in places if place)


def test_the_service_listens_to_other_containers(built: Built) -> None:
    assert built.image.environment["MODELYARD_HOST"] == "0.0.0.0"


def test_a_step_that_cannot_be_replayed_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM python:3.11-slim\nRUN apt-get install -y gcc\n")
    (tmp_path / "scratch").mkdir()
    with pytest.raises(AssertionError, match="no way to replay: RUN apt-get"):
        Replay(tmp_path, tmp_path / "scratch").build(read(tmp_path / "Dockerfile"))


@pytest.mark.parametrize(
    ("path", "kept_out"),
    [
        ("README.md", False),
        (".git", True),
        ("tests/secret.key", True),
        ("services/worker/Dockerfile", False),
        ("services/worker/build/lib/x.py", True),
        ("modelyard/rpc/__pycache__/x.pyc", True),
        ("modelyard.egg-info", True),
    ],
)
def test_dockerignore_keeps_out(path: str, kept_out: bool) -> None:
    assert ignored(PurePosixPath(path), patterns(ROOT)) is kept_out
