"""How a version was made: training.json, beside its files."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import torch

from modelyard import codec
from modelyard.train.checkpoint import durable
from modelyard.train.position import Position

RECORD = "training.json"


def releases() -> dict[str, str]:
    """Return the releases of what computes: another one may round otherwise."""
    return {"python": platform.python_version(), "torch": str(torch.__version__), "numpy": np.__version__}


@dataclass(frozen=True)
class TrainingRecord:
    """What it takes to say where weights are from, and to train them again.

    Attributes:
        seed: of the job.
        position: at which training ended.
        metrics: last values, by name.
        data_digest: of the dataset; empty: not stated.
        code_digest: of the recipe's bundle (train.bundle); empty: not stated.
        job: empty: none, it was run locally.
        options: of the job: batch size, precision and the like, as texts.
        releases: of what computes.
    """

    seed: int
    position: Position
    metrics: Mapping[str, float] = field(default_factory=dict)
    data_digest: str = ""
    code_digest: str = ""
    job: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    releases: Mapping[str, str] = field(default_factory=releases)


def write(directory: Path, record: TrainingRecord, exports: Mapping[str, object]) -> None:
    """Write it, with what became of the exports by format. A metric that is not finite becomes null. Raises OSError."""
    document = codec.encode(codec.to_json(record) | {"exports": exports})
    durable.write(directory / RECORD, msgspec.json.format(document, indent=1))
