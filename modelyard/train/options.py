"""What a run is told beside its recipe and its data."""

from __future__ import annotations

import math
from dataclasses import dataclass

from modelyard.errors import InvalidInputError

PRECISIONS = ("fp32", "bf16")
MODES = ("min", "max")
STALL_S = 600.0


@dataclass(frozen=True)
class TrainingOptions:
    """How long to train, on how much at a time, and which weights are the best.

    Attributes:
        epochs: passes over the data; None: `steps` says how long.
        steps: None: `epochs` says how long. Exactly one of both is given; if none is, it is one epoch.
        batch_size: samples in a step, over all ranks.
        accumulation: a rank's part of a batch is cut in so many.
        precision: "fp32", or "bf16": the forward pass in BF16 where torch's autocast has it so; weights remain FP32.
        seed: of everything that is random.
        shuffled: whether the order of samples differs from epoch to epoch; False: as they come.
        metric: which mean decides what is best: of the validation data, or if there are none, of training.
        mode: whether its "min" or its "max" is best.
        patience: so many epochs may follow each other without a better one, then training stops early; 0: never.
        min_delta: by how much it must be better.
        keep_best: whether the weights of the best epoch are kept beside the last.
        checkpoint_steps: a checkpoint after every so many steps; 0: none but those that are asked for.
        keep_last: how many checkpoints are kept.
        stall_s: of a job: a rank that is in one batch for so long, and waits for no other, hangs: the job has failed.
    """

    epochs: int | None = None
    steps: int | None = None
    batch_size: int = 32
    accumulation: int = 1
    precision: str = "fp32"
    seed: int = 0
    shuffled: bool = True
    metric: str = "loss"
    mode: str = "min"
    patience: int = 0
    min_delta: float = 0.0
    keep_best: bool = True
    checkpoint_steps: int = 0
    keep_last: int = 3
    stall_s: float = STALL_S

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            InvalidInputError: one makes no sense.
        """
        if self.epochs is not None and self.steps is not None:
            raise InvalidInputError(f"expected epochs or steps, got both: {self.epochs} and {self.steps}")
        if self.epochs is None and self.steps is None:
            object.__setattr__(self, "epochs", 1)
        for name in ("epochs", "steps"):
            if getattr(self, name) is not None:
                self._at_least(name, 1)
        for name, least in (("batch_size", 1), ("accumulation", 1), ("patience", 0), ("keep_last", 1), ("seed", 0)):
            self._at_least(name, least)
        self._at_least("checkpoint_steps", 0)
        self._one_of("precision", PRECISIONS)
        self._one_of("mode", MODES)
        if not (math.isfinite(self.min_delta) and self.min_delta >= 0):
            raise InvalidInputError(f"expected min_delta of at least 0, got {self.min_delta!r}")

        if not (math.isfinite(self.stall_s) and self.stall_s > 0):
            raise InvalidInputError(f"expected stall_s above 0, got {self.stall_s!r}")

    def _at_least(self, name: str, least: int) -> None:
        value = getattr(self, name)
        if type(value) is not int or value < least:
            raise InvalidInputError(f"expected {name} to be a whole number of at least {least}, got {value!r:.100}")

    def _one_of(self, name: str, known: tuple[str, ...]) -> None:
        if getattr(self, name) not in known:
            raise InvalidInputError(
                f"expected {name} to be one of {', '.join(known)}; got {getattr(self, name)!r:.100}"
            )

    def steps_of_epoch(self, samples: int) -> int:
        """How many steps a pass over so many samples takes."""
        return -(-samples // self.batch_size)

    def total_steps(self, samples: int) -> int:
        """How many steps the run takes if it does not stop early."""
        if self.steps is not None:
            return self.steps
        return (self.epochs or 0) * self.steps_of_epoch(samples)
