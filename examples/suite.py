"""A suite for as long as an example needs one."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

console = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Suite:
    """One that runs.

    Attributes:
        address: host:port of the front door.
        state: the directory that `modelyard up` was told.
        directory: for what the example writes.
    """

    address: str
    state: Path
    directory: Path

    def pids(self) -> dict[str, int]:
        """Which process is which, by name: "worker-0"."""
        status = json.loads(modelyard("status", "--dir", str(self.state), "--json"))
        return {process["name"]: process["pid"] for process in status["processes"]}


def modelyard(*arguments: str) -> str:
    """Run the CLI as a user would; return what it printed."""
    command = [sys.executable, "-m", "modelyard", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(f"modelyard {arguments[0]} failed: {result.stderr.strip()}")
    return result.stdout.strip()


@contextmanager
def suite(workers: int = 2) -> Iterator[Suite]:
    """`modelyard up` in a directory of its own, and `down` after."""
    with tempfile.TemporaryDirectory(prefix="modelyard-example-") as scratch:
        state = str(Path(scratch) / "state")
        console.print(modelyard("up", "--workers", str(workers), "--port", "0", "--dir", state, "--detach"))
        try:
            status = json.loads(modelyard("status", "--dir", state, "--json"))
            yield Suite(status["address"], Path(state), Path(scratch))
        finally:
            console.print(modelyard("down", "--dir", state))


def run(tour: Callable[[str, Path], Coroutine[Any, Any, list[str]]]) -> int:
    """Run an example, which is told the front door's address and a directory, in a suite; return the exit status."""
    with suite() as running:
        return conclude(asyncio.run(tour(running.address, running.directory)))


def conclude(problems: list[str]) -> int:
    """Print what went wrong; return the exit status."""
    for problem in problems[:10]:
        console.print(f"[red]{problem}[/]")
    return 1 if problems else 0
