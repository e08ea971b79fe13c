"""What was measured in a training, as a version has it and as it is drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from modelyard.jobs.release import VALIDATION, metric_name
from modelyard.train.course import EpochRecord
from modelyard.train.curves import Chart, png
from modelyard.train.event_files import EventFile
from modelyard.train.state import TrainingState

CURVES, EVENTS = "curves.png", "events"
MOST = 100
"""So many metrics a version may have."""
_KINDS = ("training", "validation")


def metrics(state: TrainingState, objective: str) -> dict[str, float]:
    """Return the values of the epoch whose weights are served, by names that a version may have.

    Those that are not finite are left out; where there are too many, or two would have one name, the later ones are,
    but for the objective.
    """
    history = state.course.history
    best = [epoch for epoch in history if epoch.best] if state.best_weights else []
    told = _values((best or history)[-1]) if history else {}
    made: dict[str, float] = {}
    for name in sorted(told, key=lambda name: name.removeprefix(VALIDATION) != objective):
        if math.isfinite(told[name]) and len(made) < MOST:
            made.setdefault(metric_name(name), told[name])
    return made


def _values(epoch: EpochRecord) -> dict[str, float]:
    return {**epoch.training, **{VALIDATION + name: value for name, value in epoch.validation.items()}}


def write(directory: Path, history: Sequence[EpochRecord]) -> None:
    """Write the learning curves as a picture, and as TensorBoard's event files. Raises OSError."""
    (directory / CURVES).write_bytes(png(charts(history)))
    with EventFile(directory / EVENTS) as events:
        for epoch in history:
            validation = {f"validation/{name}": value for name, value in epoch.validation.items()}
            events.add(epoch.step, {**epoch.training, **validation})


def charts(history: Sequence[EpochRecord]) -> list[Chart]:
    """Return a chart for each value of the epochs: over steps, of training and of validation."""
    names = dict.fromkeys(name for epoch in history for kind in _KINDS for name in getattr(epoch, kind))
    return [Chart(name, _lines(history, name)) for name in names or ("loss",)]


def _lines(history: Sequence[EpochRecord], name: str) -> dict[str, list[tuple[int, float]]]:
    found = {
        kind: [(epoch.step, getattr(epoch, kind)[name]) for epoch in history if name in getattr(epoch, kind)]
        for kind in _KINDS
    }
    return {kind: points for kind, points in found.items() if points}
