"""The alias that a job moves to what came of it, perhaps only if that is better."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from modelyard.catalogue import Version
from modelyard.errors import PASSING, ModelyardError
from modelyard.jobs.training import Objective, TrainingSpec
from modelyard.rpc.publishing import Publishing
from modelyard_worker.trainer.outcome import VALIDATION

log = logging.getLogger(__name__)


async def release(publishing: Publishing, spec: TrainingSpec, version: Version, tenant: str) -> None:
    """Move the alias of a job's release to a version of it; what keeps it from moving costs the alias, not the job.

    Raises:
        UnavailableError, ExhaustedError: the registry is away.
    """
    alias = spec.release.alias
    facts = {"model": version.model, "version": version.version, "alias": alias}
    try:
        before = await publishing.found(version.model, alias) if spec.release.if_better else None
        if before is not None and not is_better(version.metrics, before.metrics, spec.objective):
            log.info("the alias remains where it is: not better", extra={**facts, "before": before.version})
            return
        await publishing.point(version, alias, tenant)
    except PASSING:
        raise
    except ModelyardError as error:
        log.error("the alias was not moved", extra={**facts, "reason": error.message})


def is_better(found: Mapping[str, float], before: Mapping[str, float], objective: Objective) -> bool:
    """Whether a version is better than one of before, of which the same was measured; it is if nothing was."""
    for name in (VALIDATION + objective.metric, objective.metric):
        if name in found and name in before:
            gain = found[name] - before[name] if objective.higher_is_better else before[name] - found[name]
            return gain > objective.min_delta
    return True
