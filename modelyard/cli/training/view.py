"""The live view of a training: how far it is, who trains, and its curves."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table

from modelyard.cli.jobs import text
from modelyard.cli.output import visible
from modelyard.cli.training.curve import Curve, sparkline
from modelyard.jobs.job import Job, JobEvent
from modelyard.jobs.states import JobState
from modelyard.jobs.training_progress import Measurement, TrainingProgress

MOST_CURVES = 8
BAR_WIDTH = 40
MOST_CURVE_WIDTH = 60
LEAST_CURVE_WIDTH = 8
NAME_WIDTH = 24
_VALUES_WIDTH = 40
MOST_NAMED = 4


class TrainingView:
    """What is known of a training. It may be drawn while another thread tells more of it."""

    def __init__(self, job: Job, clock: Callable[[], float] = time.time) -> None:
        """`clock`: seconds since the epoch."""
        self.job = job
        self.progress = job.progress.training or TrainingProgress()
        self._clock = clock
        self._curves: dict[str, Curve] = {}
        self._best: dict[str, tuple[float, float]] = {}

    def take(self, event: JobEvent) -> None:
        """Note an event of its watch."""
        if event.job is not None:
            self.job = event.job
            self.note(event.job.progress.training or self.progress)
        self.measure(event.measurements)

    def note(self, progress: TrainingProgress) -> None:
        """Note how far it is."""
        self.progress = progress

    @property
    def now_s(self) -> float:
        """The time, in seconds since the epoch."""
        return self._clock()

    def measure(self, measurements: Iterable[Measurement]) -> None:
        """Note values, in the order of their steps."""
        for measurement in measurements:
            for name, value in measurement.values.items():
                if name not in self._curves and len(self._curves) >= MOST_CURVES:
                    continue
                self._curves.setdefault(name, Curve()).add(value)
                self._extend(name, value)

    def _extend(self, name: str, value: float) -> None:
        low, high = self._best.get(name, (math.inf, -math.inf))
        if math.isfinite(value):
            self._best[name] = min(low, value), max(high, value)

    def draw(self) -> RenderableType:
        """All of it."""
        state = self.job.state if self.job.ended else text.state(self.job)  # `ended` says why
        head = visible(f"{self.job.id}  {text.model(self.job)}  {state}")
        parts: list[RenderableType] = [head, self._overall()]
        if said := self._course():
            parts.append(said)
        if said := self._members():
            parts.append(said)
        if self._curves:
            parts.append(_Curves(self._rows()))
        return Group(*parts)

    def _overall(self) -> RenderableType:
        progress = self.progress
        grid = Table.grid(padding=(0, 1))
        unknown = not (progress.steps or self.job.ended)
        bar = ProgressBar(max(progress.steps, 1), min(progress.step, max(progress.steps, 1)), BAR_WIDTH, pulse=unknown)
        grid.add_row(bar, text.steps(progress))
        return grid

    def _course(self) -> str:
        progress = self.progress
        left_s = progress.estimated_end_s - self._clock()
        if self.job.ended:
            return ""
        if text.is_concluding(self.job, progress):
            return text.concluding(self.job)
        if text.is_script(self.job):
            shows = f"`modelyard logs {self.job.id}` shows what the script prints"
            return ", ".join(filter(None, (shows, *self._checkpoint())))
        parts = (
            f"{progress.samples_per_s:,.4g} samples/s" if progress.samples_per_s else "",
            f"{text.duration(left_s)} left" if progress.estimated_end_s and left_s > 0 else "",
            *self._checkpoint(),
        )
        return ", ".join(filter(None, parts))

    def _checkpoint(self) -> tuple[str, str]:
        """The last one, and why there is no later one; empty: there is none, or may be a later one."""
        step, reason = self.progress.checkpoint_step, self.progress.checkpoint_failure
        last = f"checkpoint {text.checkpoint(self.job, step)}" if step else ""
        return last, visible(f"no later one: {reason}") if reason else ""

    def _members(self) -> str:
        """Who trains. Of too few of them its reason says why."""
        progress, count = self.progress, len(self.progress.members)
        if self.job.ended or self.job.state is JobState.PAUSED:
            return ""
        if count < progress.min_workers:
            return f"{count} of at least {text.count(progress.min_workers, 'worker')}"
        more = f" and {count - MOST_NAMED} more" if count > MOST_NAMED else ""
        named = ", ".join(progress.members[:MOST_NAMED])
        return visible(f"{count} of {text.count(progress.max_workers, 'worker')}: {named}{more}")

    def _rows(self) -> list[tuple[str, list[float], str]]:
        return [(visible(name), curve.values, self._values(name, curve)) for name, curve in [*self._curves.items()]]

    def _values(self, name: str, curve: Curve) -> str:
        low, high = self._best.get(name, (math.nan, math.nan))
        return f"{curve.last:.4g}  ({low:.4g} to {high:.4g})"


class _Curves:
    """A line for each curve, as wide as there is room."""

    def __init__(self, rows: list[tuple[str, list[float], str]]) -> None:
        self._rows = rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        room = options.max_width - min(NAME_WIDTH, max(len(name) for name, _, _ in self._rows)) - _VALUES_WIDTH
        # All begin and end together, however often each was measured.
        width = min(
            max(LEAST_CURVE_WIDTH, min(MOST_CURVE_WIDTH, room)), max(len(values) for _, values, _ in self._rows)
        )
        grid = Table.grid(padding=(0, 2))
        grid.add_column(max_width=NAME_WIDTH, no_wrap=True, overflow="ellipsis")
        grid.add_column(no_wrap=True, min_width=width)
        grid.add_column(no_wrap=True)
        for name, values, said in self._rows:
            grid.add_row(name, sparkline(values, width), said)
        yield grid
