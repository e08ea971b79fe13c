"""What a job's spec says, as training takes it, and what all of its ranks must agree on."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import torch

from modelyard import codec
from modelyard.catalogue import Resources
from modelyard.jobs.training import Checkpoints, TrainingSpec
from modelyard.train.options import TrainingOptions

SHARED_EVERY_S = 300.0


def options(spec: TrainingSpec, samples: int) -> TrainingOptions:
    """Return the options of a run over so many samples.

    Raises:
        InvalidInputError: the spec makes no sense.
    """
    made = TrainingOptions(
        epochs=spec.epochs or None,
        steps=spec.steps or None,
        batch_size=spec.batch_size,
        accumulation=spec.accumulation,
        precision=spec.precision.value.lower(),
        seed=spec.seed,
        metric=spec.objective.metric,
        mode="max" if spec.objective.higher_is_better else "min",
        patience=spec.objective.patience,
        min_delta=spec.objective.min_delta,
        keep_last=spec.checkpoints.keep_last,
        checkpoint_steps=spec.checkpoints.every_steps,
        stall_s=spec.stall_s,
    )
    if spec.checkpoints.every_steps or spec.checkpoints.every_s:
        return made
    return replace(made, checkpoint_steps=made.steps_of_epoch(samples))


def cadence(spec: TrainingSpec) -> Checkpoints:
    """Return when checkpoints are saved beside what the options of the run say.

    Where ranks share a model the loss of one of them costs all steps since the last: if the job does not say when, they
    are saved every SHARED_EVERY_S, too.
    """
    said = spec.checkpoints
    if spec.parallelism.replica == 1 or said.every_steps or said.every_s:
        return said
    return replace(said, every_s=SHARED_EVERY_S)


def take_cores(resources: Resources) -> None:
    """Have torch compute with as many threads as a job has asked for cores; with its own number if it asked for none.

    It follows from the job, not from who else is on the machine: sums differ by the number of threads.
    """
    if resources.cpu:
        torch.set_num_threads(max(1, int(resources.cpu)))


def agreement(spec: TrainingSpec, stamps: str) -> str:
    """Return digests of what must be the same on all ranks of a job, by name.

    Args:
        spec: of the job.
        stamps: of the data that were opened; empty: they could not be.
    """
    parts = {
        "code": spec.code.artifact.manifest_digest[:12],
        "data": _digest(stamps.encode()),
        "spec": _digest(codec.encode(spec)),
        "numpy": np.__version__,
        "torch": str(torch.__version__),
    }
    return ",".join(f"{name}={value}" for name, value in parts.items())


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]
