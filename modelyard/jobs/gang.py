"""How a training job is on the workers: as two internal deployments, its ranks and its control process. Plain values.

Both are placed, watched over and started anew as instances of models are: placements name a format of their own, which
tells agents to start a process of training instead of loading a model. Their name begins with "~", as no model's may.
"""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.catalogue import Resources
from modelyard.deployment import Deployment, Selector
from modelyard.jobs.training import TrainingSpec
from modelyard.names import ModelVersion

RANKS, CONTROL = "training", "training-control"
"""The formats of their placements."""
CODE_LABEL = ("allow-code", "yes")
"""Of workers that run users' code."""
CONTROL_BYTES = 256 << 20
_MARK = "~"


@dataclass(frozen=True)
class Charter:
    """What all processes of a training job are told: keys.training_charter(job), until the job has ended.

    Attributes:
        secret: by which they know each other.
        stop: why it is to end before it is done; empty: it is to go on.
        spent_s: by processes that the job had before these.
    """

    job: str
    tenant: str
    spec: TrainingSpec
    secret: str
    stop: str = ""
    spent_s: float = 0.0


def ranks_of(job_id: str) -> ModelVersion:
    """Under which name the ranks of a job are placed."""
    return ModelVersion(_MARK + job_id, "ranks")


def control_of(job_id: str) -> ModelVersion:
    """Under which name the control process of a job is placed."""
    return ModelVersion(_MARK + job_id, "control")


def job_of(model: str) -> str:
    """The job that such a name is of; empty: it is a model's."""
    return model.removeprefix(_MARK) if model.startswith(_MARK) else ""


def gang(charter: Charter, resources: Resources, now_s: float) -> tuple[Deployment, Deployment]:
    """What a training job wants on the workers: its ranks, at least `min_workers` together, and its control process.

    Args:
        charter: of the job.
        resources: that each rank needs.
        now_s: in seconds since the epoch.
    """
    spec = charter.spec
    names, code = ranks_of(charter.job), spec.code.artifact.manifest_digest
    ranks = Deployment(
        model=names.model,
        version=names.version,
        replicas=spec.max_workers,
        resources=resources,
        manifest_digest=code,
        format=RANKS,
        tenant=charter.tenant,
        create_time_s=now_s,
        on=Selector(labels=(CODE_LABEL,)),
        least=spec.min_workers,
    )
    return ranks, _control(charter, code, now_s)


def _control(charter: Charter, code: str, now_s: float) -> Deployment:
    """It runs no code of users, but is placed where the ranks are: torch is there."""
    name = control_of(charter.job)
    needs = Resources(memory_bytes=CONTROL_BYTES)
    return Deployment(name.model, name.version, 1, needs, code, CONTROL, charter.tenant, now_s)
