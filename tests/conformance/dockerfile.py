"""Dockerfiles without a container engine: read them, and replay their steps in an empty folder.

The image that a stage starts from is played by a venv with pip at usr/local: it has what python:3.11-slim offers, a
Python and pip. Absolute paths in the steps are taken below the stage's folder. RUN may call python and pip, which are
run, and useradd, which needs root and is only recorded; anything else fails, so that a new step is not passed over.
"""

from __future__ import annotations

import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

BASE_PATH = "/usr/local/bin:/usr/bin:/bin"
# What is not imported here need not be compiled: most of torch, for one.
_NOT_COMPILED = {"PIP_COMPILE": "0"}


@dataclass(frozen=True)
class Step:
    """One instruction: its keyword and the text behind it."""

    keyword: str
    text: str

    @property
    def words(self) -> list[str]:
        """The text as a shell or a JSON list splits it."""
        return shlex.split(self.text.strip("[]").replace(",", " ") if self.text.startswith("[") else self.text)


def variables(step: Step, environment: Mapping[str, str]) -> dict[str, str]:
    """What an ENV step sets, with each $NAME as it was before the step."""
    pairs = (word.partition("=") for word in step.words)
    return {name: expand(value, environment) for name, _, value in pairs}


def expand(text: str, environment: Mapping[str, str]) -> str:
    """The text with each $NAME as it is there, empty where it is not."""
    return re.sub(r"\$\{?(\w+)\}?", lambda match: environment.get(match[1], ""), text)


@dataclass(frozen=True)
class Stage:
    """From one FROM to the next."""

    base: str
    name: str
    steps: tuple[Step, ...]

    def all(self, keyword: str) -> list[Step]:
        """The steps of one keyword, in order."""
        return [step for step in self.steps if step.keyword == keyword]

    @property
    def command(self) -> list[str]:
        """ENTRYPOINT and CMD together."""
        return [word for keyword in ("ENTRYPOINT", "CMD") for step in self.all(keyword) for word in step.words]

    @property
    def environment(self) -> dict[str, str]:
        """What the ENV steps set, each $NAME expanded."""
        environment = {"PATH": BASE_PATH}
        for step in self.all("ENV"):
            environment |= variables(step, environment)
        return environment

    @property
    def workdir(self) -> str:
        """The last WORKDIR."""
        return [step.text for step in self.all("WORKDIR")][-1]


def read(path: Path) -> list[Stage]:
    """Return the stages of a Dockerfile."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    stages: list[Stage] = []
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        if not line.strip():
            continue
        keyword, _, text = line.strip().partition(" ")
        if keyword == "FROM":
            base, _, name = text.partition(" AS ")
            stages.append(Stage(base, name, ()))
        else:
            stage = stages.pop()
            stages.append(Stage(stage.base, stage.name, (*stage.steps, Step(keyword, text.strip()))))
    return stages


def ignored(path: PurePosixPath, kept_out: Sequence[str]) -> bool:
    """Whether .dockerignore keeps a path out: the last pattern that fits it or a folder above it decides."""
    verdict = False
    for pattern in kept_out:
        glob = re.escape(pattern.lstrip("!")).replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*")
        if any(re.fullmatch(glob, str(part)) for part in (path, *path.parents)):
            verdict = not pattern.startswith("!")
    return verdict


def patterns(root: Path) -> list[str]:
    """The patterns of a build context's .dockerignore."""
    lines = (root / ".dockerignore").read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def context_files(root: Path) -> Iterator[PurePosixPath]:
    """The files of a build context, relative to it, without what its .dockerignore keeps out."""
    kept_out = patterns(root)
    for folder, folders, files in os.walk(root):
        here = PurePosixPath(Path(folder).relative_to(root).as_posix())
        folders[:] = [name for name in folders if not ignored(here / name, kept_out)]
        yield from (here / name for name in files if not ignored(here / name, kept_out))


@dataclass
class Image:
    """What one stage leaves: a folder that plays the file system, and the facts that steps recorded."""

    root: Path
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": BASE_PATH})
    arguments: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = "root"
    accounts: dict[str, str] = field(default_factory=dict)
    """The home of each account that useradd makes, by its id."""

    def inside(self, path: str) -> Path:
        """Where a path of the image lies here."""
        return self.root / str(PurePosixPath(self.workdir) / path).lstrip("/")

    def run(self, command: Sequence[str], environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run a program of the image in its working directory and return what it said, whatever its exit status."""
        search = os.pathsep.join(str(self.inside(part)) for part in self.environment["PATH"].split(":"))
        program = shutil.which(command[0], path=search)
        if program is None:
            raise FileNotFoundError(f"{command[0]}: not on the image's PATH {self.environment['PATH']}")
        mapped = [str(self.inside(word)) if word.startswith("/") else word for word in command[1:]]
        return subprocess.run(
            [program, *mapped],
            cwd=self.inside("."),
            env={**environ, **self.environment, "PATH": search},
            capture_output=True,
            text=True,
            check=False,
        )


class Replay:
    """One Dockerfile, step by step."""

    def __init__(self, context: Path, scratch: Path) -> None:
        """`context`: the build context; `scratch`: an empty folder for the stages."""
        self._context = context
        self._scratch = scratch
        self._images: dict[str, Image] = {}

    def build(self, stages: Sequence[Stage]) -> Image:
        """Replay all stages; remove all but the last and return it."""
        for index, stage in enumerate(stages):
            image = Image(self._scratch / f"stage-{index}")
            image.root.mkdir()
            if index < len(stages) - 1:  # the last stage installs nothing, so it needs no pip of its own
                subprocess.run([sys.executable, "-m", "venv", image.root / "usr/local"], check=True)
            for step in stage.steps:
                getattr(self, f"_{step.keyword.lower()}")(image, step)
            self._images[stage.name] = image
        for earlier in list(self._images.values())[:-1]:
            shutil.rmtree(earlier.root)
        return image

    def _arg(self, image: Image, step: Step) -> None:
        name, _, default = step.text.partition("=")
        value = os.environ.get(name, default)
        if value:
            image.arguments[name] = value

    def _env(self, image: Image, step: Step) -> None:
        image.environment |= variables(step, image.environment)

    def _workdir(self, image: Image, step: Step) -> None:
        image.workdir = str(PurePosixPath(image.workdir) / step.text)
        image.inside(".").mkdir(parents=True, exist_ok=True)

    def _user(self, image: Image, step: Step) -> None:
        image.user = step.text

    def _expose(self, image: Image, step: Step) -> None:
        assert all(word.isdecimal() for word in step.words), step.text

    def _entrypoint(self, image: Image, step: Step) -> None:
        assert step.text.startswith("["), f"the shell form takes the signals of the process: {step.text}"

    def _copy(self, image: Image, step: Step) -> None:
        words = step.words
        if words[0].startswith("--from="):
            stage = self._images[words[0].removeprefix("--from=")]
            shutil.copytree(stage.inside(words[1]), image.inside(words[2]), symlinks=True, copy_function=os.link)
            return
        *sources, target = words
        files = list(context_files(self._context))
        for source in sources:
            found = [file for file in files if file.is_relative_to(source)]
            assert found, f"COPY {source}: not in the build context"
            for file in found:
                below = file.relative_to(source) if file != PurePosixPath(source) else PurePosixPath(file.name)
                path = image.inside(target) / below
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(self._context / file, path)

    def _run(self, image: Image, step: Step) -> None:
        for command in " ".join(step.text.split()).split(" && "):
            words = shlex.split(expand(command, image.arguments))
            if words[0] == "useradd":
                options = dict(itertools.pairwise(words))
                image.accounts[options["--uid"]] = options["--home-dir"]
                image.inside(options["--home-dir"]).mkdir(parents=True)
                continue
            assert words[0] in {"python", "pip"}, f"no way to replay: RUN {command}"
            done = image.run(words, {**_outer_environment(), **image.arguments, **_NOT_COMPILED})
            assert done.returncode == 0, f"RUN {command}\n{done.stdout}\n{done.stderr}"


def _outer_environment() -> dict[str, str]:
    """The network settings of this machine, pip's among them: a build gets them from its engine."""
    kept = re.compile(r"PIP_\w+|\w+_proxy|SSL_\w+|HOME|LANG|TMPDIR", re.IGNORECASE)
    return {name: value for name, value in os.environ.items() if kept.fullmatch(name)}
