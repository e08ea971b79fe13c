"""What a rank of a script starts from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modelyard.jobs.training import Code
from modelyard.rpc.registry import BlockingSource
from modelyard_worker.trainer.script.folder import ScriptFolder
from modelyard_worker.training.orders import Begin


@dataclass(frozen=True)
class ScriptTerms:
    """What is run, and where.

    Attributes:
        job: its id.
        device: "cpu" or "cuda:0" and so on.
        folder: what the job's ranks on this worker share.
        scratch: this rank's own.
        environ: variables that name directories.
        stall_s: after which a script hangs that does nothing; 0: it is not looked at.
    """

    job: str
    code: Code
    device: str
    folder: ScriptFolder
    scratch: Path
    environ: Mapping[str, str]
    stall_s: float = 0.0


def terms(begin: Begin, source: BlockingSource) -> ScriptTerms:
    """Have all that a script needs be there.

    Raises:
        ModelyardError: its data cannot be read.
        OSError: the disk.
    """
    spec, scratch = begin.charter.spec, Path(begin.scratch)
    folder = ScriptFolder(Path(begin.folder) if begin.folder else scratch / "job")
    environ = folder.prepare(Path(begin.directory), spec.data, source)
    if spec.stall_s:
        environ["PYTHONFAULTHANDLER"] = os.environ.get("PYTHONFAULTHANDLER", "1")  # so that it says where it hangs
    return ScriptTerms(begin.charter.job, spec.code, begin.device, folder, scratch, environ, spec.stall_s)
