"""What comes of a job: a directory that is a version's artifact, and what is said of it."""

from __future__ import annotations

import dataclasses
import logging
import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modelyard.catalogue import Lineage, Signature
from modelyard.errors import InvalidInputError
from modelyard.jobs.gang import Charter
from modelyard.rpc.publishing import Publication
from modelyard.train.course import EpochRecord
from modelyard.train.curves import Chart, png
from modelyard.train.data.table import Table
from modelyard.train.event_files import EventFile
from modelyard.train.export import record as records
from modelyard.train.export.exporting import export
from modelyard.train.export.record import TrainingRecord
from modelyard.train.export.run import trained
from modelyard.train.export.weights import write_signature, write_weights
from modelyard.train.failure import RecipeError
from modelyard.train.step import Training
from modelyard_worker.trainer.data import Opened, name_of

log = logging.getLogger(__name__)
CURVES, EVENTS, FITTED = "curves.png", "events", "preprocessing.bin"
VALIDATION = "validation_"
"""How the names of metrics begin that were measured on validation data."""
_FEWEST_ROWS = 2


@dataclass(frozen=True)
class Outcome:
    """An artifact.

    Attributes:
        reason: why it is weights alone, which cannot be served; empty: it is a model.
    """

    directory: Path
    reason: str = ""


def outcome(charter: Charter, training: Training, data: Opened, directory: Path) -> Outcome:
    """Write the artifact of a job: the model, or if that cannot be exported its weights; and how it was made.

    Args:
        charter: of the job.
        training: at its end, with the whole state.
        data: rows of which are compared.
        directory: is made anew.

    Raises:
        OSError: the disk.
    """
    shutil.rmtree(directory, ignore_errors=True)
    record = _record(charter, training)
    made = _exported(training, data, record, directory)
    history = training.state.course.history
    (made.directory / CURVES).write_bytes(png(charts(history)))
    with EventFile(made.directory / EVENTS) as events:
        for epoch in history:
            events.add(epoch.step, {name.replace(VALIDATION, "validation/"): v for name, v in values(epoch).items()})
    return made


def _exported(training: Training, data: Opened, record: TrainingRecord, directory: Path) -> Outcome:
    state = training.state
    try:
        found = export(trained(training.recipe, state, _rows(data), record), directory)
    except (InvalidInputError, RecipeError) as error:
        log.error("export failed", extra={"reason": error.message})
        shutil.rmtree(directory, ignore_errors=True)
        return Outcome(_weights(training, record, directory, error.message), error.message)
    reasons = [f"{name}: {each.reason}" for name, each in found.formats.items() if each.reason]
    return Outcome(found.artifact, "" if found.served != "safetensors" else "; ".join(reasons))


def _weights(training: Training, record: TrainingRecord, directory: Path, reason: str) -> Path:
    """Of a model that takes or returns what nobody can be told of: its signature is empty."""
    directory.mkdir(parents=True)
    last = training.state.module.state_dict()
    write_weights(directory / "last.safetensors", last)
    write_weights(directory / "best.safetensors", training.state.best_weights or last)
    write_signature(directory, Signature())
    if training.state.preprocessing:
        (directory / FITTED).write_bytes(training.state.preprocessing)
    records.write(directory, record, {"reason": reason})
    return directory


def _rows(data: Opened) -> Table:
    """Rows that were not trained on, if there are enough of them."""
    held_out = data.validation
    return held_out if held_out is not None and len(held_out) >= _FEWEST_ROWS else data.train


def charts(history: list[EpochRecord]) -> list[Chart]:
    """Return a chart for each value of the epochs: over steps, of training and of validation."""
    found: list[Chart] = []
    for name in history[-1].training if history else ("loss",):
        lines = {
            kind: [(epoch.step, getattr(epoch, kind)[name]) for epoch in history if name in getattr(epoch, kind)]
            for kind in ("training", "validation")
        }
        found.append(Chart(name, {kind: points for kind, points in lines.items() if points}))
    return found


def values(epoch: EpochRecord) -> dict[str, float]:
    """Return an epoch's means by name: those of validation data begin with VALIDATION."""
    return {**epoch.training, **{VALIDATION + name: value for name, value in epoch.validation.items()}}


def metrics(training: Training) -> Mapping[str, float]:
    """Return the values of the epoch whose weights are served; those that are not finite are left out."""
    history = training.state.course.history
    best = [epoch for epoch in history if epoch.best] if training.state.best_weights else []
    told = values((best or history)[-1]) if history else {}
    return {name: value for name, value in told.items() if math.isfinite(value)}


def publication(charter: Charter, training: Training, outcome: Outcome) -> Publication:
    """Return what is said of the version."""
    spec = charter.spec
    said = f"trained by job {charter.job}, seed {spec.seed}"
    return Publication(
        model=spec.model,
        request=charter.job,
        tenant=charter.tenant,
        description=said + (f"; weights only, not exported: {outcome.reason:.500}" if outcome.reason else ""),
        labels={"code": spec.code.artifact.manifest_digest, "seed": str(spec.seed)},
        lineage=Lineage(job=charter.job, dataset=name_of(spec.data.dataset)),
        metrics=metrics(training),
    )


def _record(charter: Charter, training: Training) -> TrainingRecord:
    spec = charter.spec
    options = {name: str(value) for name, value in dataclasses.asdict(training.options).items()}
    return TrainingRecord(
        seed=spec.seed,
        position=training.state.position,
        metrics=metrics(training),
        data_digest=name_of(spec.data.dataset),
        code_digest=spec.code.artifact.manifest_digest,
        job=charter.job,
        options={**options, **{f"parameter {name}": value for name, value in spec.code.parameters}},
    )
