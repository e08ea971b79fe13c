"""How the options of `train` are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from modelyard.catalogue import Resources
from modelyard.cli.command import parse_pairs
from modelyard.config import parse_bytes
from modelyard.errors import InvalidInputError
from modelyard.jobs.training import SCRIPT_SUFFIX, Parallelism

Model = Annotated[
    str, typer.Option("--model", metavar="NAME", help="a version of it comes out; else the directory's name")
]
Data = Annotated[
    str,
    typer.Option(
        "--data", metavar="DATA", help="a file, a directory of images, a URL, sha256:DIGEST; a script may have none"
    ),
]
Validation = Annotated[str, typer.Option(metavar="DATA", help="likewise, what metrics are measured on")]
HeldOut = Annotated[float, typer.Option(metavar="FRACTION", help="of the data, for validation instead")]
Features = Annotated[str, typer.Option(metavar="COLUMN,...", help="what the model gets; else all but the target")]
Target = Annotated[str, typer.Option(metavar="COLUMN", help="what it learns")]
Balanced = Annotated[bool, typer.Option("--balanced", help="each label of the target as often as any other")]
Entry = Annotated[
    str, typer.Option("--entry", metavar="MODULE[:CLASS]|SCRIPT.py", help="what is run, of that directory")
]
Script = Annotated[
    str, typer.Option("--script", metavar="SCRIPT.py", help="what is run as torchrun does, instead of a recipe")
]
MaxRestarts = Annotated[int, typer.Option(min=0, help="of a script that has failed")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="a parameter of the recipe, --NAME=VALUE of a script; several times"
    ),
]
Epochs = Annotated[int, typer.Option(min=0, help="passes over the data; one, without --steps")]
Steps = Annotated[int, typer.Option(min=0, help="of the optimizer, instead of --epochs")]
BatchSize = Annotated[int, typer.Option(min=1, help="samples of a step, over all workers")]
Accumulation = Annotated[int, typer.Option(min=1, help="parts that a worker takes its samples of a step in")]
Precision = Annotated[str, typer.Option(metavar="NAME", help="fp32 or bf16")]
Seed = Annotated[int, typer.Option(min=0, help="of all that is random")]
Workers = Annotated[int, typer.Option(min=1, help="as many as it can have, up to these")]
MinWorkers = Annotated[int, typer.Option(min=0, help="with fewer it waits; 0: as many as one replica takes")]
Parallel = Annotated[str, typer.Option(metavar="AXIS=N,...", help="of data, shard, tensor, pipeline; else all data")]
Metric = Annotated[str, typer.Option(metavar="NAME", help="which one decides what is best")]
Mode = Annotated[str, typer.Option(metavar="min|max", help="whether its lowest or its highest value is best")]
Patience = Annotated[int, typer.Option(min=0, metavar="EPOCHS", help="that may pass without a better one; 0: all")]
MinDelta = Annotated[float, typer.Option(min=0, metavar="NUMBER", help="by how much a better one is better")]
CheckpointSteps = Annotated[int, typer.Option(min=0, help="from one checkpoint to the next; else one an epoch")]
CheckpointSeconds = Annotated[float, typer.Option(min=0, help="from one checkpoint to the next")]
KeepLast = Annotated[int, typer.Option(min=1, help="so many checkpoints are kept")]
StallSeconds = Annotated[float, typer.Option(min=1, help="in one batch, after which a worker hangs, and the job fails")]
Resume = Annotated[str, typer.Option("--resume", metavar="JOB", help="go on from the last checkpoint of that job")]
Alias = Annotated[str, typer.Option(metavar="ALIAS", help="moved to the version that comes out")]
Deploy = Annotated[bool, typer.Option("--deploy", help="deploy the version that comes out")]
IfBetter = Annotated[bool, typer.Option("--if-better", help="both of these only if it is better than what there is")]
Cpu = Annotated[float, typer.Option(min=0, help="cores that a worker must have")]
Memory = Annotated[str, typer.Option(metavar="SIZE", help="that each worker is given, as 4GiB; 1GiB")]
Gpu = Annotated[int, typer.Option(min=0, max=1, help="1: each worker trains on a GPU of its own")]

RECIPE = "recipe"
_AXES = ("data", "shard", "tensor", "pipeline")


def read_parameters(texts: Sequence[str] | None) -> dict[str, str]:
    """Read --set. InvalidInputError: what was expected."""
    return parse_pairs("--set", texts)


def read_entry(entry: str, script: str) -> str:
    """Read --entry and --script. InvalidInputError: what was expected."""
    if script and (entry or not script.endswith(SCRIPT_SUFFIX)):
        got = f"--entry {entry} as well" if entry else f"{script!r:.80}"
        raise InvalidInputError(
            f"--script: expected the path of a {SCRIPT_SUFFIX} file within the directory, got {got}"
        )
    return entry or script or RECIPE


def read_data(data: str, entry: str) -> str | None:
    """Read --data, which a script may do without. InvalidInputError: a recipe has none."""
    if not data and not entry.endswith(SCRIPT_SUFFIX):
        raise InvalidInputError("--data: expected a file, a directory of images, a URL, or sha256:DIGEST; got none")
    return data or None


def read_features(text: str) -> tuple[str, ...]:
    """Read --features."""
    return tuple(text.split(",")) if text else ()


def read_resources(cpu: float, memory: str, gpu: int) -> Resources:
    """Read --cpu, --memory and --gpu. InvalidInputError: what was expected."""
    return Resources(cpu, parse_bytes(memory) if memory else 0, gpu)


def read_parallelism(text: str) -> Parallelism:
    """Read --parallel. InvalidInputError: what was expected."""
    sizes = parse_pairs("--parallel", text.split(",") if text else ())
    for axis, size in sizes.items():
        if axis not in _AXES or not size.isdecimal():
            raise InvalidInputError(f"--parallel: expected {', '.join(_AXES)} as shard=2; got {axis}={size}")
    return Parallelism(**{axis: int(size) for axis, size in sizes.items()})
