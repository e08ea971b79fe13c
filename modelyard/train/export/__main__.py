"""`python -m modelyard.train.export HANDED DIRECTORY CODE`: exports what is in a file, and reports what came of it.

A process of its own: tracers and compilers that crash, hang or take gigabytes do so here, and cost the export alone.
It reports one line: {"served": FORMAT, "reasons": {FORMAT: why it is not there}}, or {"failed": why there is nothing}.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from pathlib import Path
from typing import Any

from modelyard import log
from modelyard.errors import ModelyardError
from modelyard.process import Parent
from modelyard.train.export import handover
from modelyard.train.export.exporting import export


def exported(handed: Path, directory: Path) -> dict[str, Any]:
    """Export into a new directory; return what is reported."""
    try:
        found = export(handover.read(handed), directory)
    except Exception as error:
        return {"failed": described(error)}
    return {"served": found.served, "reasons": {n: each.reason for n, each in found.formats.items() if each.reason}}


def described(error: Exception) -> str:
    """Return an error in one line."""
    if isinstance(error, ModelyardError):
        return error.message[:500]
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {line}"[:500]


def main() -> None:
    """Export."""
    parent = Parent(dict(os.environ))
    log.configure("export")
    for optimizer in ("onnx_ir", "onnxscript"):  # each of their passes tells that it has changed nothing
        logging.getLogger(optimizer).setLevel(logging.WARNING)
    with contextlib.suppress(OSError):  # of memory that runs out this process is to pay the bill
        Path("/proc/self/oom_score_adj").write_text("1000")
    handed, directory, code = sys.argv[1:]
    sys.dont_write_bytecode = True  # the directory is others', too
    sys.path.insert(0, code)
    parent.report(**exported(Path(handed), Path(directory)))
    sys.stdout.flush()
    os._exit(0)  # threads of the user's code are not waited for


if __name__ == "__main__":
    main()
