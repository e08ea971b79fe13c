"""How the checkpoints of a training job are called while they are stored: as uploads, of which some are let go.

The uploads of a job are called as the job is, or begin with its name and a dot; those of its checkpoints go on with the
step, so that it can be told which are older than one that is held.
"""

from __future__ import annotations

STEP_DIGITS = 12


def uploads_of(job: str) -> str:
    """How the uploads of a job's checkpoints begin; "-" and the step follow."""
    return f"{job}.checkpoint"


def step_of(job: str, upload: str) -> int | None:
    """The step of the checkpoint that an upload is of; None: it is of none of this job's."""
    step = upload.removeprefix(uploads_of(job) + "-").partition("-")[0]
    is_one = upload.startswith(uploads_of(job)) and len(step) >= STEP_DIGITS and step.isdecimal()
    return int(step) if is_one else None
