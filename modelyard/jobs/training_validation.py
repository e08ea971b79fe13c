"""Which trainings make sense. What only the user's code and the data can tell is found out when the job is begun."""

from __future__ import annotations

import math
import re

from modelyard.catalogue import Resources
from modelyard.errors import InvalidInputError
from modelyard.jobs.dataset_validation import check_artifact, check_dataset, check_path, check_range, check_size
from modelyard.jobs.training import Checkpoints, Code, Objective, Release, TrainingData, TrainingSpec
from modelyard.names import check_name

MOST_WORKERS = 10_000
MOST_BATCH_SIZE = 1 << 30
MOST_KEPT = 1000
MOST_COUNT = (1 << 63) - 1
_RECIPE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(:[A-Za-z_]\w*)?\Z", re.ASCII)
_PARAMETER = re.compile(r"[A-Za-z_]\w*\Z", re.ASCII)
_FLAG = re.compile(r"[A-Za-z_][\w.-]*\Z", re.ASCII)
MOST_RESTARTS = 1000


def check_training(spec: TrainingSpec) -> None:
    """Raise InvalidInputError unless a training makes sense by itself."""
    check_name("model", spec.model)
    _check_code(spec.code)
    if spec.code.is_script:
        _check_script(spec)
    else:
        _check_data(spec.data)
    check_size("training", (spec.code.parameters, spec.data.features, spec.data.target))
    _check_length(spec)
    check_range("seed", spec.seed, 0, MOST_COUNT)
    if spec.resume_from:
        check_name("job", spec.resume_from)
    _check_workers(spec)
    _check_batch(spec)
    _check_checkpoints(spec.checkpoints)
    _check_objective(spec.objective)
    _check_release(spec.release)
    _check_resources(spec.resources)
    _check_amount("stall_s", spec.stall_s)


def _check_code(code: Code) -> None:
    check_artifact("code", code.artifact)
    if code.is_script:
        check_path("entry", code.entry)
    elif not _RECIPE.match(code.entry):
        raise InvalidInputError(
            f"job: entry: expected module[:Class] of a recipe, or the path of a script.py; got {code.entry!r:.80}"
        )
    check_range("max_restarts", code.max_restarts, 0, MOST_RESTARTS)
    seen: set[str] = set()
    for name, _ in code.parameters:
        if not (_FLAG if code.is_script else _PARAMETER).match(name):
            raise InvalidInputError(f"job: parameters: expected the name of a keyword, got {name!r:.80}")
        if name in seen:
            raise InvalidInputError(f"job: parameters: expected each one once, got {name!r:.80} twice")
        seen.add(name)


def _check_script(spec: TrainingSpec) -> None:
    """What reads its data, and shares its work, by itself."""
    data = spec.data
    if data.dataset.is_given:
        check_dataset("dataset", data.dataset)
    if data.validation:
        check_dataset("validation", data.validation)
    if data.held_out or data.features or data.target or data.balanced:
        raise InvalidInputError(
            "job: expected no held_out, features, target or balanced: a script reads its data itself"
        )
    given = (spec.batch_size, spec.accumulation, spec.precision, spec.seed)
    if given != (TrainingSpec.batch_size, TrainingSpec.accumulation, TrainingSpec.precision, TrainingSpec.seed):
        raise InvalidInputError(
            "job: expected no batch_size, accumulation, precision or seed: a script takes its own, as parameters"
        )
    if spec.checkpoints.every_steps:
        raise InvalidInputError("job: checkpoints: every_steps: expected none: nobody knows of a script's steps")
    if spec.parallelism.replica > 1 or spec.parallelism.data:
        raise InvalidInputError("job: parallelism: expected none: a script shares the work of its ranks itself")


def _check_data(data: TrainingData) -> None:
    check_dataset("dataset", data.dataset)
    if data.validation:
        check_dataset("validation", data.validation)
    if not 0 <= data.held_out < 1:
        raise InvalidInputError(f"job: held_out: expected a fraction of at least 0 and below 1, got {data.held_out}")
    if data.validation and data.held_out:
        raise InvalidInputError(
            f"job: expected a validation dataset or a fraction that is held out, got both ({data.held_out})"
        )
    if not all(data.features) or len({*data.features}) < len(data.features):
        raise InvalidInputError(f"job: features: expected each column once, by its name; got {list(data.features)}")
    if data.target in data.features:
        raise InvalidInputError(f"job: target: expected a column that is no feature, got {data.target!r:.80}")


def _check_length(spec: TrainingSpec) -> None:
    check_range("epochs", spec.epochs, 0, MOST_COUNT)
    check_range("steps", spec.steps, 0, MOST_COUNT)
    if spec.code.is_script and (spec.epochs or spec.steps or spec.objective.patience):
        raise InvalidInputError("job: expected no epochs, steps or patience: a script ends by itself")
    if not spec.code.is_script and bool(spec.epochs) == bool(spec.steps):
        got = f"both: {spec.epochs} and {spec.steps}" if spec.epochs else "neither"
        raise InvalidInputError(f"job: expected a number of epochs or of steps, got {got}")


def _check_workers(spec: TrainingSpec) -> None:
    check_range("max_workers", spec.max_workers, 1, MOST_WORKERS)
    check_range("min_workers", spec.min_workers, 1, MOST_WORKERS)
    if spec.min_workers > spec.max_workers:
        raise InvalidInputError(
            f"job: min_workers: expected at most max_workers, {spec.max_workers}; got {spec.min_workers}"
        )
    parallelism = spec.parallelism
    check_range("parallelism: data", parallelism.data, 0, MOST_WORKERS)
    for field in ("shard", "tensor", "pipeline"):
        check_range(f"parallelism: {field}", getattr(parallelism, field), 1, MOST_WORKERS)
    try:
        parallelism.resolved(spec.max_workers)
    except InvalidInputError as error:
        raise InvalidInputError(f"job: max_workers: {error.message}") from None
    if spec.min_workers % parallelism.replica:
        raise InvalidInputError(
            f"job: min_workers: expected whole replicas, which take {parallelism.replica} each; got {spec.min_workers}"
        )


def _check_batch(spec: TrainingSpec) -> None:
    check_range("batch_size", spec.batch_size, 1, MOST_BATCH_SIZE)
    if spec.code.is_script:
        return
    parallelism = spec.parallelism
    parts = spec.max_workers // (parallelism.tensor * parallelism.pipeline)
    if spec.batch_size < parts:
        raise InvalidInputError(
            f"job: batch_size: expected at least {parts}, a sample for each part of a step; got {spec.batch_size}"
        )
    check_range("accumulation", spec.accumulation, 1, spec.batch_size)


def _check_checkpoints(checkpoints: Checkpoints) -> None:
    check_range("checkpoints: every_steps", checkpoints.every_steps, 0, MOST_COUNT)
    check_range("checkpoints: keep_last", checkpoints.keep_last, 1, MOST_KEPT)
    _check_amount("checkpoints: every_s", checkpoints.every_s)


def _check_objective(objective: Objective) -> None:
    if not objective.metric:
        raise InvalidInputError("job: objective: expected the name of a metric, got an empty string")
    check_range("objective: patience", objective.patience, 0, MOST_COUNT)
    _check_amount("objective: min_delta", objective.min_delta)


def _check_amount(field: str, value: float) -> None:
    if not 0 <= value < math.inf:
        raise InvalidInputError(f"job: {field}: expected a finite number of at least 0, got {value}")


def _check_release(release: Release) -> None:
    if release.alias:
        check_name("alias", release.alias)
    if release.if_better and not (release.alias or release.deploy):
        raise InvalidInputError("job: release: expected an alias, or a deployment, if it is better; got neither")


def _check_resources(resources: Resources) -> None:
    _check_amount("resources: cpu", resources.cpu)
    check_range("resources: memory_bytes", resources.memory_bytes, 0, MOST_COUNT)
    check_range("resources: gpu", resources.gpu, 0, 1)  # a rank computes on one device
