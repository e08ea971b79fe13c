"""The options of `train`, in groups as its help shows them, and how they are read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import typer
from typer.models import OptionInfo

from modelyard.catalogue import Resources
from modelyard.cli import grouped
from modelyard.cli.command import parse_pairs, parse_size
from modelyard.cli.jobs import options as jobs
from modelyard.errors import InvalidInputError
from modelyard.jobs import spec
from modelyard.jobs.training import SCRIPT_SUFFIX, Checkpoints, Code, Parallelism, Release, TrainingSpec
from modelyard.sdk.jobs.training_options import TrainingJobOptions

RECIPE = "recipe"
_BATCH_SIZE = TrainingSpec.batch_size
_STALL = f"{TrainingSpec.stall_s:g}; a script: never"
_AXES = ("data", "shard", "tensor", "pipeline")


def _option(said: str, metavar: str, *names: str, default: object = None) -> OptionInfo:
    """An option; `default`: what it is if it is not given, where that is not plain."""
    shown = said if default is None else f"{said}  [default: {default}]"
    found: OptionInfo = typer.Option(*names, metavar=metavar, help=shown, show_default=False)
    return found


class Group(grouped.Group):
    """Some of the options."""

    def applied(self, options: TrainingJobOptions) -> TrainingJobOptions:
        """Return options with what was said here. InvalidInputError: what was expected."""
        raise NotImplementedError


@dataclass(frozen=True)
class CodeOptions(Group):
    """What is run."""

    entry: Annotated[
        str, _option("the recipe, where recipe.py is not it or has several", "MODULE[:CLASS]", "--entry")
    ] = ""
    script: Annotated[str, _option("a script that runs under torchrun, instead of a recipe", "FILE.py")] = ""
    parameters: Annotated[
        list[str] | None,
        _option("a parameter of the recipe; of a script --NAME=VALUE; several times", "NAME=VALUE", "--set"),
    ] = None
    max_restarts: Annotated[int, _option("of a script that fails", "N", default=Code.max_restarts)] = Code.max_restarts
    model: Annotated[str, _option("a version of it comes out; else the directory's name", "NAME")] = ""

    def applied(self, options: TrainingJobOptions) -> TrainingJobOptions:
        """As Group says."""
        parameters = parse_pairs("--set", self.parameters)
        return replace(options, entry=self._entry(), parameters=parameters, max_restarts=self.max_restarts)

    def _entry(self) -> str:
        if self.script and (self.entry or not self.script.endswith(SCRIPT_SUFFIX)):
            got = f"--entry {self.entry} as well" if self.entry else f"{self.script!r:.80}"
            raise InvalidInputError(
                f"--script: expected the path of a {SCRIPT_SUFFIX} file within the directory, got {got}"
            )
        return self.entry or self.script or RECIPE


@dataclass(frozen=True)
class DataOptions(Group):
    """What it learns from."""

    data: Annotated[str, _option("a file, a directory of images, a URL, or sha256:DIGEST", "DATA")] = ""
    validation: Annotated[str, _option("likewise, what it is measured on", "DATA")] = ""
    held_out: Annotated[float, _option("a part of --data instead, as 0.2", "FRACTION")] = 0.0
    kind: jobs.Kind = ""
    features: Annotated[str, _option("what the model gets; else all but the target", "COLUMN,...")] = ""
    target: Annotated[str, _option("what it learns to tell", "COLUMN")] = ""
    balanced: Annotated[bool, typer.Option("--balanced", help="each label of the target as often as any other")] = False

    def read(self, entry: str) -> str | None:
        """--data, which a script may do without. InvalidInputError: a recipe has none."""
        if not self.data and not entry.endswith(SCRIPT_SUFFIX):
            raise InvalidInputError("--data: expected a file, a directory of images, a URL, or sha256:DIGEST; got none")
        return self.data or None

    def applied(self, options: TrainingJobOptions) -> TrainingJobOptions:
        """As Group says."""
        features = tuple(self.features.split(",")) if self.features else ()
        columns = replace(options, features=features, target=self.target, balanced=self.balanced)
        return replace(columns, kind=self.kind, held_out=self.held_out)


@dataclass(frozen=True)
class LengthOptions(Group):
    """How long, and on how much at a time."""

    epochs: Annotated[int, _option("passes over the data", "N", default=1)] = 0
    steps: Annotated[int, _option("steps of the optimizer, instead of --epochs", "N")] = 0
    batch_size: Annotated[int, _option("samples a step, over all workers", "N", default=TrainingSpec.batch_size)] = (
        TrainingSpec.batch_size
    )
    accumulation: Annotated[int, _option("parts that a worker takes its samples of a step in", "N", default=1)] = 1
    precision: Annotated[str, _option("of the forward pass", "fp32|bf16", default="fp32")] = "fp32"
    seed: Annotated[int, _option("of all that is random", "N", default=0)] = 0

    def applied(self, options: TrainingJobOptions) -> TrainingJobOptions:
        """As Group says."""
        return replace(
            options,
            epochs=self.epochs,
            steps=self.steps,
            batch_size=self.batch_size,
            accumulation=self.accumulation,
            precision=self.precision,
            seed=self.seed,
        )


@dataclass(frozen=True)
class WorkerOptions(Group):
    """On how many workers, and what each must have."""

    workers: Annotated[int, _option("as many as there are, up to these", "N", default=1)] = 1
    min_workers: Annotated[int, _option("with fewer it waits", "N", default="those of one replica")] = 0
    parallel: Annotated[str, _option("axes: data, shard (FSDP2), tensor, pipeline", "AXIS=N,...", default="data")] = ""
    cpu: Annotated[float, _option("that each must have; torch has as many threads", "CORES")] = 0.0
    memory: Annotated[str, _option("likewise, as 4GiB", "SIZE", default="1GiB")] = ""
    gpu: Annotated[int, _option("1: each has a GPU of its own", "0|1")] = 0

    def applied(self, options: TrainingJobOptions) -> TrainingJobOptions:
        """As Group says."""
        resources = Resources(self.cpu, parse_size("--memory", self.memory), self.gpu)
        count = replace(options, workers=self.workers, min_workers=self.min_workers)
        return replace(count, parallelism=_parallelism(self.parallel), resources=resources)


@dataclass(frozen=True)
class BestOptions(Group):
    """Which weights are the best, and when to stop early."""

    metric: Annotated[str, _option("of the validation data, if there are any", "NAME", default="loss")] = "loss"
    mode: Annotated[str, _option("whether its lowest or highest value is best", "min|max", default="min")] = "min"
    patience: Annotated[int, _option("stop after so many without a better one", "EPOCHS")] = 0
    min_delta: Annotated[float, _option("by how much a better one is better", "NUMBER", default=0)] = 0.0

    def applied(self, options: TrainingJobOptions) -> TrainingJobOptions:
        """As Group says."""
        best = replace(options, metric=self.metric, mode=self.mode)
        return replace(best, patience=self.patience, min_delta=self.min_delta)


@dataclass(frozen=True)
class CheckpointOptions(Group):
    """Checkpoints."""

    checkpoint_steps: Annotated[int, _option("from one to the next", "STEPS", default="an epoch")] = 0
    checkpoint_seconds: Annotated[float, _option("likewise", "SECONDS")] = 0.0
    keep_last: Annotated[int, _option("so many are kept", "N", default=Checkpoints.keep_last)] = Checkpoints.keep_last
    resume: Annotated[str, _option("go on from the last one of that job", "JOB")] = ""

    def applied(self, options: TrainingJobOptions) -> TrainingJobOptions:
        """As Group says."""
        checkpoints = Checkpoints(self.checkpoint_steps, self.checkpoint_seconds, self.keep_last)
        return replace(options, checkpoints=checkpoints, resume_from=self.resume)


@dataclass(frozen=True)
class ReleaseOptions(Group):
    """What becomes of the version."""

    alias: Annotated[str, _option("is moved to it", "ALIAS")] = ""
    deploy: Annotated[bool, typer.Option("--deploy", help="deploy it, in place of the model's others")] = False
    if_better: Annotated[
        bool, typer.Option("--if-better", help="both only if --metric is better than of what is there")
    ] = False

    def applied(self, options: TrainingJobOptions) -> TrainingJobOptions:
        """As Group says."""
        return replace(options, release=Release(self.alias, self.deploy, self.if_better))


@dataclass(frozen=True)
class RunOptions(Group):
    """The job."""

    priority: jobs.Priority = spec.DEFAULT_PRIORITY
    deadline: jobs.Deadline = 0.0
    stall_seconds: Annotated[
        float | None,
        _option("in one batch (a script: doing nothing), then it hangs and fails", "SECONDS", default=_STALL),
    ] = None
    request_id: jobs.RequestId = ""
    detach: Annotated[bool, typer.Option("--detach", help="return at once; `jobs watch` shows how it goes")] = False

    def applied(self, options: TrainingJobOptions) -> TrainingJobOptions:
        """As Group says."""
        if self.stall_seconds is not None and not self.stall_seconds >= 1:
            raise InvalidInputError(f"--stall-seconds: expected at least 1, got {self.stall_seconds:g}")
        run = replace(options, priority=self.priority, deadline_s=self.deadline)
        return replace(run, stall_s=self.stall_seconds, request_id=self.request_id)


def _parallelism(text: str) -> Parallelism:
    sizes = {}
    for part in text.split(",") if text else ():
        axis, _, size = part.partition("=")
        if axis not in _AXES or not size.isdecimal():
            raise InvalidInputError(f"--parallel: expected {', '.join(_AXES)} as shard=2; got {part}")
        sizes[axis] = int(size)
    return Parallelism(**sizes)
