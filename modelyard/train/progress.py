"""How a run in this process goes, in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from modelyard.train.course import EpochRecord
from modelyard.train.events import Listener, StepCommitted


class TerminalProgress(Listener):
    """A bar with the steps and the last loss, and a line for each epoch. To be entered."""

    def __init__(self, steps: int, console: Console | None = None) -> None:
        columns = (TextColumn("step"), MofNCompleteColumn(), BarColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, TextColumn("{task.description}"), console=console)
        self._task = self._progress.add_task("", total=steps)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def committed(self, step: StepCommitted) -> None:
        """Move the bar."""
        self._progress.update(self._task, completed=step.position.step, description=_words(step.values))

    def ended(self, record: EpochRecord) -> None:
        """Write the epoch's line."""
        parts = [f"epoch {record.epoch + 1}", _words(record.training)]
        if record.validation:
            parts.append("validation: " + _words(record.validation))
        if record.best:
            parts.append("(best)")
        self._progress.console.print("  ".join(parts), highlight=False, markup=False, soft_wrap=True)


def _words(values: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in values.items())
