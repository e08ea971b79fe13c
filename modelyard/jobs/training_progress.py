"""How a training goes. Plain values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingProgress:
    """How far a training is.

    Attributes:
        step: the steps that are committed.
        steps: that it takes in all, unless it ends early; 0: not known yet.
        epoch: the pass over the data, from 0 on.
        epochs: 0: the steps say how long.
        samples_per_s: over all members, of late; 0: not known.
        members: the workers that train, in the order of their ranks.
        min_workers: with fewer it waits.
        max_workers: as many as it takes.
        checkpoint_step: the step of the last checkpoint; 0: there is none yet.
        estimated_end_s: when it will have ended if it goes on like this, in seconds since the epoch; 0: not known.
        checkpoint_failure: why no later checkpoint could be saved; empty: none has failed since.
    """

    step: int = 0
    steps: int = 0
    epoch: int = 0
    epochs: int = 0
    samples_per_s: float = 0.0
    members: tuple[str, ...] = ()
    min_workers: int = 1
    max_workers: int = 1
    checkpoint_step: int = 0
    estimated_end_s: float = 0.0
    checkpoint_failure: str = ""


@dataclass(frozen=True)
class Checkpoint:
    """A state of a training, in the artifact store: whoever goes on from it has lost nothing up to there.

    Attributes:
        digest: of its manifest.
        step: the steps that it has.
        epoch: the pass over the data that it is in.
        offset: so many samples of that pass it has.
    """

    digest: str
    step: int
    epoch: int = 0
    offset: int = 0


@dataclass(frozen=True)
class Measurement:
    """Values of a run at a step.

    Attributes:
        step: after which.
        values: means over samples, by name: "loss", or "validation loss" for instance.
    """

    step: int
    values: dict[str, float]


@dataclass(frozen=True)
class TrainingReport:
    """What the control process of a job writes down for the scheduler: keys.training_report(job).

    Attributes:
        progress: as far as it is known there.
        latest: the last values of training and of validation.
        waiting: how many members are there that do not train.
        waits_for: what those that train wait for; empty: nothing.
        waits_since_s: since when, in seconds since the epoch.
        finished: why the training has ended as it should, "FINISHED" for instance; empty: it has not.
        version: the version that came of it, once it is registered.
        failed: why it cannot go on, one line; empty: it can.
        traceback: of the user's own code; empty: there is none.
        stopped: whether it has ended because it was to.
        compute_s: what members have spent since the job's processes were begun (modelyard.train.control.spending).
        reported_s: when it was written, in seconds since the epoch; 0: not known.
    """

    progress: TrainingProgress = TrainingProgress()
    latest: tuple[Measurement, ...] = ()
    waiting: int = 0
    waits_for: str = ""
    waits_since_s: float = 0.0
    finished: str = ""
    version: str = ""
    failed: str = ""
    traceback: str = ""
    stopped: bool = False
    compute_s: float = 0.0
    reported_s: float = 0.0
