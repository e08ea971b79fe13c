"""What commands print: tables for people, JSON for programs, errors on standard error."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import IO, Any

import numpy as np
from rich import box
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn, TransferSpeedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from modelyard.config import format_bytes
from modelyard.results import Progress
from modelyard.sdk.meter import OnProgress

PIPE_WIDTH = 400
STAGES = {"read": "reading", "send": "sending", "receive": "receiving"}


def console(stream: IO[str]) -> Console:
    """Return a console that prints text as it is; into a pipe, without breaking lines."""
    width = None if stream.isatty() else PIPE_WIDTH
    return Console(file=stream, width=width, markup=False, emoji=False, highlight=False)


def to_json(value: Any) -> str:
    """Return a value as JSON: dataclasses as objects, arrays as nested lists, bytes as text."""
    return json.dumps(value, default=_jsonable, ensure_ascii=False)


def _jsonable(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


class Output:
    """One command's standard output."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json

    def show(self, value: Any, text: str | Table) -> None:
        """Print a value as JSON where that was asked for, else its text or table."""
        if self.as_json:
            print(to_json(value), flush=True)
        elif isinstance(text, Table):
            console(sys.stdout).print(text)
        else:
            print(text, flush=True)

    @contextlib.contextmanager
    def progress(self) -> Iterator[OnProgress | None]:
        """Show bars on standard error where that is a terminal; give what they are to be fed with."""
        if self.as_json or not sys.stderr.isatty():
            yield None
            return
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(True), TransferSpeedColumn())
        with Bars(*columns, console=console(sys.stderr)) as bars:
            yield _feed(bars)


def _feed(bars: Bars) -> OnProgress:
    tasks: dict[str, TaskID] = {}

    def feed(progress: Progress) -> None:
        task = tasks.get(progress.stage)
        if task is None:
            task = tasks[progress.stage] = bars.add_task(STAGES[progress.stage])
        there = f" ({format_bytes(progress.present_bytes)} already there)" if progress.present_bytes else ""
        bars.update(
            task,
            completed=progress.done_bytes,
            total=progress.total_bytes,
            description=STAGES[progress.stage] + there,
        )

    return feed


def error(message: str) -> None:
    """Print an error as one line on standard error."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr, flush=True)


def table(*columns: str, rows: Sequence[Sequence[Any]], title: str | None = None) -> Table:
    """Return a table; cells are printed as they are."""
    grid = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        grid.add_column(column, overflow="fold")
    for row in rows:
        grid.add_row(*(str(cell) for cell in row))
    return grid


def when(seconds: float) -> str:
    """Write seconds since the epoch as a UTC time."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S") if seconds else ""


def pairs(labels: Mapping[str, str]) -> str:
    """Write labels as `key=value`, separated by commas."""
    return ", ".join(f"{key}={value}" for key, value in labels.items())
