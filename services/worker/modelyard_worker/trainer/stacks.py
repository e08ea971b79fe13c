"""Where the threads of this process are, written down when it dies of a signal, or when Python itself cannot say it."""

from __future__ import annotations

import faulthandler
import os
from pathlib import Path

STUCK_S = 4.0
"""Who computes for so long without letting any other thread run is about to be killed: its agent waits for 5 s."""


class Stacks:
    """A file that faulthandler writes to: its thread needs no lock of the interpreter, and so sees who holds it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)
        faulthandler.enable(self._file, all_threads=False)

    def alive(self) -> None:
        """This process runs: what was written is over, and the time begins anew. Called again and again."""
        os.ftruncate(self._file.fileno(), 0)
        faulthandler.dump_traceback_later(STUCK_S, file=self._file)
