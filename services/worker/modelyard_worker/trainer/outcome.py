"""What comes of a job: a directory that is a version's artifact, and what is said of it.

model.onnx, or model.pt2    what is served, if it could be exported
recipe.json                 else: of an artifact of weights alone, which then stand here
weights/                    best.safetensors, last.safetensors
torch_export/model.pt2      beside model.onnx
training.json               how it was made, and what became of each export
curves.png, events/         what was measured
preprocessing/              what is applied when it is served
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from modelyard.catalogue import Lineage, Resources, Signature
from modelyard.errors import PASSING, ModelyardError
from modelyard.jobs.gang import Charter
from modelyard.jobs.release import description
from modelyard.reservation import usual_bytes
from modelyard.rpc.publishing import Publication
from modelyard.train.data.table import Table
from modelyard.train.export import record as records
from modelyard.train.export.record import TrainingRecord
from modelyard.train.export.run import trained
from modelyard.train.export.trained import Trained
from modelyard.train.export.weights import write_signature, write_weights
from modelyard.train.state import TrainingState
from modelyard.train.step import Training
from modelyard_worker.trainer import figures
from modelyard_worker.trainer.data import Opened, name_of
from modelyard_worker.trainer.exporting import Exported

log = logging.getLogger(__name__)
FITTED, WEIGHTS = "preprocessing.bin", "weights"
_FEWEST_ROWS = 2


class Exports(Protocol):
    """Exports what was trained: exporting.Exporter."""

    def export(self, trained: Trained, directory: Path) -> Exported:
        """Export into a new directory."""
        ...


@dataclass(frozen=True)
class Outcome:
    """An artifact.

    Attributes:
        reason: why it is weights alone, which cannot be served; empty: it is a model.
        served_bytes: of what a runner loads; 0: nothing.
    """

    directory: Path
    reason: str = ""
    served_bytes: int = 0


def outcome(charter: Charter, training: Training, data: Opened, exports: Exports, directory: Path) -> Outcome:
    """Write the artifact of a job: first its weights; then the model, if it can be exported; and how it was made.

    Args:
        charter: of the job.
        training: at its end, with the whole state.
        data: rows of which are compared.
        exports: whatever becomes of it, the weights are there.
        directory: is made anew.

    Raises:
        OSError: the disk.
        UnavailableError: rows could not be read.
    """
    shutil.rmtree(directory, ignore_errors=True)
    record, weights = _record(charter, training), directory / WEIGHTS
    _write_weights(weights, training.state)
    found = _exported(training, data, record, exports, directory / "exported")
    if found.artifact is None:
        records.write(weights, record, found.reasons)
    made = Outcome(found.artifact or weights, "" if found.is_served else _listed(found.reasons))
    if found.artifact is not None and found.is_served:
        made = dataclasses.replace(made, served_bytes=_size_bytes(found.artifact))
        _join(found.artifact, weights)
    figures.write(made.directory, training.state.course.history)
    return made


def _exported(training: Training, data: Opened, record: TrainingRecord, exports: Exports, directory: Path) -> Exported:
    try:
        what = trained(training.recipe, training.state, _rows(data), record)
    except PASSING:
        raise
    except Exception as error:
        reason = error.message if isinstance(error, ModelyardError) else f"{type(error).__name__}: {error}"
        log.error("export failed", extra={"reason": reason})
        return Exported(reasons={"export": reason})
    return exports.export(what, directory)


def _listed(reasons: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {reason}" for name, reason in reasons.items())


def _write_weights(directory: Path, state: TrainingState) -> None:
    """As an artifact of its own. Of a model that perhaps nobody can be told of: its signature is empty."""
    directory.mkdir(parents=True)
    last = state.module.state_dict()
    write_weights(directory / "last.safetensors", last)
    write_weights(directory / "best.safetensors", state.best_weights or last)
    write_signature(directory, Signature())
    if state.preprocessing:
        (directory / FITTED).write_bytes(state.preprocessing)


def _join(served: Path, weights: Path) -> None:
    """Have the artifact that is served have the weights, too, and the program that stands beside it."""
    (served / WEIGHTS).mkdir()
    for path in weights.glob("*.safetensors"):
        path.rename(served / WEIGHTS / path.name)
    program = served.parent / "torch_export" / "model.pt2"
    if served != program.parent and program.exists():
        (served / program.parent.name).mkdir()
        program.rename(served / program.parent.name / program.name)


def _size_bytes(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def _rows(data: Opened) -> Table:
    """Rows that were not trained on, if there are enough of them."""
    held_out = data.validation
    return held_out if held_out is not None and len(held_out) >= _FEWEST_ROWS else data.train


def publication(charter: Charter, training: Training, outcome: Outcome) -> Publication:
    """Return what is said of the version."""
    spec = charter.spec
    return Publication(
        model=spec.model,
        request=charter.job,
        tenant=charter.tenant,
        description=description(charter.job, spec.seed, outcome.reason),
        labels={"code": spec.code.artifact.manifest_digest, "seed": str(spec.seed)},
        lineage=Lineage(job=charter.job, dataset=name_of(spec.data.dataset)),
        metrics=figures.metrics(training.state, spec.objective.metric),
        resources=Resources(memory_bytes=usual_bytes(outcome.served_bytes) if outcome.served_bytes else 0),
    )


def _record(charter: Charter, training: Training) -> TrainingRecord:
    spec = charter.spec
    options = {name: str(value) for name, value in dataclasses.asdict(training.options).items()}
    return TrainingRecord(
        seed=spec.seed,
        position=training.state.position,
        metrics=figures.metrics(training.state, spec.objective.metric),
        data_digest=name_of(spec.data.dataset),
        code_digest=spec.code.artifact.manifest_digest,
        job=charter.job,
        options={**options, **{f"parameter {name}": value for name, value in spec.code.parameters}},
    )
