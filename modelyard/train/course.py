"""How a run has gone so far: the sums of this epoch, the epochs before, the best of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from modelyard.errors import InternalError, InvalidInputError
from modelyard.train.metric_names import check_metric_names
from modelyard.train.options import TrainingOptions


@dataclass(frozen=True)
class EpochRecord:
    """An epoch that has ended; or, where steps end the run, its part until then.

    Attributes:
        epoch: from 0 on.
        step: how many steps were applied in all.
        samples: that were counted in it.
        training: means over its samples, as the model was at each step: loss and metrics, as the recipe sums them up.
        validation: means over the validation data; empty: there are none.
        best: whether it is better than all before.
    """

    epoch: int
    step: int
    samples: int
    training: dict[str, float]
    validation: dict[str, float]
    best: bool


@dataclass
class Course:
    """Part of the state: equal on all ranks.

    Attributes:
        samples: counted since the last evaluation.
        sums: of loss and metrics over these, by name.
        evaluated: the step after which the last evaluation took place.
        best: the metric's best mean; None: there was none yet.
        best_step: how many steps had been applied then.
        waited: how many epochs have passed without a better one.
        history: of all epochs.
    """

    samples: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    evaluated: int = 0
    best: float | None = None
    best_step: int = 0
    waited: int = 0
    history: list[EpochRecord] = field(default_factory=list)

    def count(self, samples: int, sums: Mapping[str, float]) -> None:
        """Add what a step has summed."""
        self.samples += samples
        self.sums = {name: self.sums.get(name, 0.0) + value for name, value in sums.items()}

    def means(self) -> dict[str, float]:
        """The means over the samples counted since the last evaluation."""
        return {name: value / self.samples for name, value in self.sums.items()}

    def end(self, record: EpochRecord, options: TrainingOptions) -> EpochRecord:
        """Close an epoch; return its record with `best` as it is.

        Raises:
            InvalidInputError: there is no such metric as the options name, or one has a name that cannot be shown.
        """
        check_metric_names((*record.training, *record.validation))
        values = record.validation or record.training
        if options.metric not in values:
            raise InvalidInputError(f"expected a metric among {', '.join(values)}; got {options.metric!r:.100}")
        value = values[options.metric]
        better = self._better(value, options)
        if better:
            self.best, self.best_step = value, record.step
        self.waited = 0 if better else self.waited + 1
        record = dataclasses.replace(record, best=better)
        self.history.append(record)
        self.samples, self.sums, self.evaluated = 0, {}, record.step
        return record

    def _better(self, value: float, options: TrainingOptions) -> bool:
        if self.best is None:
            return not math.isnan(value)
        gain = self.best - value if options.mode == "min" else value - self.best
        return gain > options.min_delta

    def to_json(self) -> dict[str, Any]:
        """Return it as what JSON has."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Course:
        """Return what `to_json` was made of.

        Raises:
            InternalError: it is something else.
        """
        try:
            history = [EpochRecord(**record) for record in values["history"]]
            return cls(**{**values, "history": history})
        except (KeyError, TypeError) as error:
            raise InternalError(f"expected the course of a run: {error}") from error
