"""A training's report as it grows out of what members say."""

from __future__ import annotations

import dataclasses
import time
from collections import defaultdict
from collections.abc import Callable, Sequence

from modelyard.jobs.training_progress import Measurement, TrainingProgress, TrainingReport
from modelyard.train.control.config import Config
from modelyard.train.control.messages import Committed, Evaluated
from modelyard.train.control.progress import News
from modelyard.train.control.spending import Spending

VALIDATION = "validation "
"""How the names of values begin that were measured on validation data."""


class Course:
    """Takes in news. What is committed is merged until it is `told`.

    Attributes:
        report: as of the last time that it was told.
    """

    def __init__(
        self,
        config: Config,
        before: TrainingReport,
        elapsed: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`before`: what was reported last, by another process perhaps; see Spending."""
        self._spending = Spending(before, elapsed, clock)
        self._clock = clock
        progress = dataclasses.replace(
            before.progress,
            epochs=config.epochs,
            steps=config.steps or before.progress.steps,
            min_workers=config.min_workers,
            max_workers=config.max_workers,
        )
        self.report = self._last = dataclasses.replace(before, progress=progress)
        self._epochs = config.epochs
        self._committed: list[Committed] = []
        self._latest = {_is_validation(measurement): measurement for measurement in before.latest}
        self._evaluated: Evaluated | None = None
        self._news: News | None = None

    def take(self, news: News) -> None:
        """Take in what is new."""
        self._committed += news.committed
        self._evaluated = news.evaluated or self._evaluated
        self._news = news
        self._spending.change(len(news.state.members))

    def told(self, *, stopped: bool = False) -> TrainingReport:
        """Return the report as of now.

        Args:
            stopped: the job has ended because it was to.
        """
        if (news := self._news) is not None:
            self._note(news)
        ended = stopped and not self.report.finished
        now = dataclasses.replace(self.report, stopped=ended, compute_s=self._spending.spent_s())
        if now != self._last:
            now = dataclasses.replace(now, reported_s=self._clock())
        self.report = self._last = now
        self._committed.clear()
        return now

    def _note(self, news: News) -> None:
        progress = self._progressed(self.report.progress, news)
        if self._committed:
            self._latest[False] = Measurement(progress.step, _merged(self._committed))
        if self._evaluated is not None and self._evaluated.validation:
            named = {VALIDATION + name: value for name, value in self._evaluated.validation.items()}
            self._latest[True] = Measurement(self._evaluated.step, named)
        finished, failed = news.finished, news.failed
        self.report = TrainingReport(
            progress,
            latest=tuple(self._latest[kind] for kind in sorted(self._latest)),
            waiting=news.state.waiting,
            waits_for=news.waits.reason,
            waits_since_s=news.waits.since_s,
            finished=finished.reason or "FINISHED" if finished else "",
            version=finished.version if finished else "",
            failed=failed.reason if failed else "",
            traceback=failed.traceback if failed else "",
            reported_s=self.report.reported_s,
        )

    def _progressed(self, before: TrainingProgress, news: News) -> TrainingProgress:
        members = tuple(member.rpartition("/")[0] or member for member in news.state.members)
        saved_step = news.saved.position.step if news.saved else before.checkpoint_step
        steps = _steps(before.steps, self._epochs, self._evaluated)
        reason = news.unsaved.reason if news.unsaved else ""
        found = dataclasses.replace(
            before, members=members, checkpoint_step=saved_step, checkpoint_failure=reason, steps=steps
        )
        if not self._committed:
            return found
        position = self._committed[-1].position
        seconds = sum(one.seconds for one in self._committed)
        rate = sum(one.samples for one in self._committed) / seconds if seconds > 0 else 0.0
        ends_s = _ends_s(position.step - before.step, seconds, steps - position.step) if steps else 0.0
        return dataclasses.replace(
            found, step=position.step, epoch=position.epoch, samples_per_s=rate, estimated_end_s=ends_s
        )


def _steps(known: int, epochs: int, evaluated: Evaluated | None) -> int:
    """How many there are in all: known from the first epoch's end on, where epochs say how long."""
    if not epochs or evaluated is None:
        return known
    return epochs * evaluated.step // (evaluated.epoch + 1)


def _ends_s(done: int, seconds: float, left: int) -> float:
    return time.time() + left * seconds / done if done > 0 else 0.0


def _merged(committed: Sequence[Committed]) -> dict[str, float]:
    """The means over the samples of all."""
    sums: defaultdict[str, float] = defaultdict(float)
    samples = sum(one.samples for one in committed)
    for one in committed:
        for name, value in one.values.items():
            sums[name] += value * one.samples / samples
    return dict(sums)


def _is_validation(measurement: Measurement) -> bool:
    return any(name.startswith(VALIDATION) for name in measurement.values)
