"""A reader process that reads nothing: the URL of a task's dataset says what it does with it.

Started with the file that it notes its orders in, a line each.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from modelyard import codec
from modelyard.jobs.tasks import StoredPiece, TaskSpec
from modelyard.process import Parent
from modelyard_worker.jobs.assignment import Begin, Executed, Failed, Lost, Order, Report, Undone
from tests.waiting import wait_until

SECONDS = 0.25
PIECE = StoredPiece("", 0, 8, ("c" * 64,))


def main() -> None:
    """Serve orders."""
    parent, notes = Parent(dict(os.environ)), Path(sys.argv[1])
    parent.report(state="ready")
    parent.start_beating()
    for line in sys.stdin.buffer:
        order = codec.decode(Order, line)
        with notes.open("a") as file:
            file.write(_words(order) + "\n")
        if order.begin is not None and (report := _report(order.begin)):
            parent.report(**msgspec.to_builtins(report))


def _words(order: Order) -> str:
    if order.begin is not None:
        cautiously = f" by {order.begin.cautious_rows}" if order.begin.cautious_rows else ""
        return f"begin {order.begin.task} at {order.begin.target.endpoint}{cautiously}"
    if order.registries is not None:
        return f"registries {','.join(order.registries.addresses)}"
    return "drop" if order.drop else "nothing"


def _report(begin: Begin) -> Report | None:
    token, (behaviour, _, detail) = begin.token, begin.spec.dataset.url.partition(" ")
    reports: dict[str, Any] = {
        "execute": lambda: Report(executed=_executed(begin)),
        "many-chunks": lambda: Report(executed=Executed(token, SECONDS, (PIECE,) * 1000)),
        "raise": lambda: Report(failed=Failed(token, "below 0", SECONDS)),
        "malformed": lambda: Report(failed=Failed(token, "row 2: no number", 0.0, (2,), permanent=True)),
        "lost": lambda: Report(lost=Lost(token, "the runner ended", *_rows(detail))),
        "stuck": lambda: Report(lost=Lost(token, "no answer", stuck=True)),
        "undone": lambda: Report(undone=Undone(token, "no registry is live")),
        "crash": lambda: os._exit(3),
        "stop": lambda: os.kill(os.getpid(), 19),
        "wait": lambda: None,
        "wait-for": lambda: _executed_after(Path(detail), begin),
    }
    found: Report | None = reports[behaviour]()
    return found


def _rows(words: str) -> tuple[int, int]:
    begin, end = words.split() or (0, 0)
    return int(begin), int(end)


def _executed(begin: Begin) -> Executed:
    return Executed(begin.token, SECONDS, (replace(PIECE, rows=TaskSpec.parse(begin.task).rows),))


def _executed_after(path: Path, begin: Begin) -> Report:
    wait_until(path.exists)
    return Report(executed=_executed(begin))


if __name__ == "__main__":
    main()
