"""What commands print: tables for people, JSON for programs, errors on standard error."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import IO, Any

import numpy as np
from rich import box
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, ProgressColumn, Task, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from modelyard.config import format_bytes
from modelyard.errors import ModelyardError
from modelyard.results import Progress
from modelyard.sdk.meter import OnProgress

PIPE_WIDTH = 400
Part = str | Table | Text
_HIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal obeys or hides: controls but line feed and tab, what turns the direction of text, half characters."""
STAGES = {"read": "reading", "send": "sending", "receive": "receiving"}


def console(stream: IO[str]) -> Console:
    """Return a console that prints text as it is; into a pipe, without breaking lines."""
    width = None if stream.isatty() else PIPE_WIDTH
    return Console(file=stream, width=width, markup=False, emoji=False, highlight=False)


def to_json(value: Any) -> str:
    """Return a value as JSON: dataclasses as objects, arrays as nested lists, bytes as text."""
    text = json.dumps(value, default=_jsonable, ensure_ascii=False)
    return _HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def visible(text: str) -> str:
    """Return a text with escapes in the place of what a terminal would obey or hide."""
    return _HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _visible(part: Text) -> Text:
    """The same for a text with styles."""
    pieces = part.render(console(sys.stdout))
    return Text.assemble(*((visible(piece.text), piece.style or "") for piece in pieces))


def _cell(value: object) -> Text | str:
    return _visible(value) if isinstance(value, Text) else visible(str(value))


def _jsonable(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return {field.name: _ordered(getattr(value, field.name)) for field in dataclasses.fields(value)}


def _ordered(value: Any) -> Any:
    """Labels and metrics by their keys: they come in any order."""
    return dict(sorted(value.items())) if isinstance(value, dict) else value


class Output:
    """One command's standard output."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json

    def show(self, value: Any, *parts: Part) -> None:
        """Print a value as JSON where that was asked for, else its texts and tables, one after the other."""
        if self.as_json:
            print(to_json(value), flush=True)
            return
        for part in parts:
            print(visible(part) if isinstance(part, str) else _drawn(part), flush=True)

    @contextlib.contextmanager
    def progress(self) -> Iterator[OnProgress | None]:
        """Show bars on standard error where that is a terminal; give what they are to be fed with."""
        if self.as_json or not sys.stderr.isatty():
            yield None
            return
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(True), _Rate())
        with Bars(*columns, console=console(sys.stderr)) as bars:
            yield _feed(bars)


class _Rate(ProgressColumn):
    """How much a second: of late while it goes on, in all when it is done."""

    def render(self, task: Task) -> Text:
        """Nothing before there is a rate."""
        rate = task.finished_speed or task.speed
        return Text(f"{format_bytes(int(rate))}/s" if rate else "")


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


def _drawn(part: Table | Text) -> str:
    """What a console would print, without the blanks that fill a line up."""
    screen = console(sys.stdout)
    with screen.capture() as captured:
        screen.print(_visible(part) if isinstance(part, Text) else part)
    return "\n".join(line.rstrip() for line in captured.get().rstrip().split("\n"))


def error(failure: ModelyardError | OSError, *, as_json: bool) -> None:
    """Print an error as one line on standard error."""
    text = failure.message if isinstance(failure, ModelyardError) else _said(failure)
    if not as_json:
        print(f"error: {visible(' '.join(text.split()))}", file=sys.stderr, flush=True)
        return
    document = {"error": type(failure).__name__, "status": getattr(failure, "status", "UNKNOWN"), "message": text}
    if isinstance(failure, ModelyardError) and failure.published:
        document["published"] = failure.published
    print(to_json(document), file=sys.stderr, flush=True)


def _said(failure: OSError) -> str:
    return f"{failure.filename}: {failure.strerror}" if failure.filename else str(failure)


def table(*columns: str, rows: Sequence[Sequence[Any]], title: str | None = None, whole: Collection[str] = ()) -> Table:
    """Return a table; cells are printed as they are, their lines unbroken in the columns named by `whole`."""
    grid = Table(title=title and visible(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        grid.add_column(visible(column), overflow="fold", no_wrap=column in whole)
    for row in rows:
        grid.add_row(*map(_cell, row))
    return grid


def facts(values: Mapping[str, str]) -> Table:
    """Return a list of facts, each with its name before it; what is empty is left out."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in values.items():
        if value:
            grid.add_row(f"{name}:", visible(value))
    return grid


def when(seconds: float) -> str:
    """Write seconds since the epoch as a UTC time."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S") if seconds else ""


def span(seconds: float) -> str:
    """Write a duration in its two largest units: 6 d 23 h, 59 min, 1.2 s."""
    if seconds < 60:
        return f"{seconds:.2g} s"
    minutes = round(seconds / 60)
    parts = {"d": minutes // 1440, "h": minutes // 60 % 24, "min": minutes % 60}
    shown = [f"{count} {unit}" for unit, count in parts.items() if count]
    return " ".join(shown[:2])


def pairs(values: Mapping[str, object]) -> str:
    """Write labels or metrics as `key=value` in the order of the keys, separated by commas."""
    ordered = sorted(values.items())
    return ", ".join(f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}" for key, value in ordered)
