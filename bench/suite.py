"""A suite for a benchmark, in a directory that goes with it."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from modelyard.config import TEST_RUNTIME
from modelyard.local.commands import Status, UpOptions, down, status, up


@contextlib.contextmanager
def running(*, workers: int = 1, delays: bool = False) -> Iterator[Status]:
    """Run a suite; with `delays` its runners obey the delays that models ask for (contents of standard output go to
    standard error: a benchmark prints JSON)."""
    with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stdout(sys.stderr):
        directory = Path(scratch) / "state"
        if delays:
            os.environ[TEST_RUNTIME] = "delay"
        up(UpOptions(directory, workers=workers, port=0, detach=True))
        try:
            yield status(directory)
        finally:
            down(directory)
            os.environ.pop(TEST_RUNTIME, None)
