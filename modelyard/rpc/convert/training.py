"""How a training goes."""

from __future__ import annotations

from modelyard.jobs import training_progress as values
from modelyard.rpc.convert.types import seconds, timestamp
from modelyard.v1 import jobs_pb2 as pb


def training_progress_to_pb(progress: values.TrainingProgress) -> pb.TrainingProgress:
    """How far a training is."""
    return pb.TrainingProgress(
        step=progress.step,
        steps=progress.steps,
        epoch=progress.epoch,
        epochs=progress.epochs,
        samples_per_second=progress.samples_per_s,
        members=progress.members,
        min_workers=progress.min_workers,
        max_workers=progress.max_workers,
        checkpoint_step=progress.checkpoint_step,
        checkpoint_failure=progress.checkpoint_failure,
        estimated_end_time=timestamp(progress.estimated_end_s) if progress.estimated_end_s else None,
    )


def training_progress_from_pb(progress: pb.TrainingProgress) -> values.TrainingProgress:
    """How far a training is."""
    return values.TrainingProgress(
        step=progress.step,
        steps=progress.steps,
        epoch=progress.epoch,
        epochs=progress.epochs,
        samples_per_s=progress.samples_per_second,
        members=tuple(progress.members),
        min_workers=progress.min_workers,
        max_workers=progress.max_workers,
        checkpoint_step=progress.checkpoint_step,
        checkpoint_failure=progress.checkpoint_failure,
        estimated_end_s=seconds(progress.estimated_end_time),
    )


def checkpoint_to_pb(checkpoint: values.Checkpoint) -> pb.Checkpoint:
    """Where a state is, and how far."""
    return pb.Checkpoint(
        digest=checkpoint.digest, step=checkpoint.step, epoch=checkpoint.epoch, offset=checkpoint.offset
    )


def checkpoint_from_pb(checkpoint: pb.Checkpoint) -> values.Checkpoint:
    """Where a state is, and how far."""
    return values.Checkpoint(checkpoint.digest, checkpoint.step, checkpoint.epoch, checkpoint.offset)


def measurement_to_pb(measurement: values.Measurement) -> pb.Measurement:
    """Values after a step."""
    return pb.Measurement(step=measurement.step, values=measurement.values)


def measurement_from_pb(measurement: pb.Measurement) -> values.Measurement:
    """Values after a step."""
    return values.Measurement(measurement.step, dict(measurement.values))
