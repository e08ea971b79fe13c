"""What is said of the version that a training makes, and whether it is better than one of before. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from modelyard.catalogue import Version
from modelyard.jobs.training import Objective
from modelyard.names import MAX_LENGTH

VALIDATION = "validation_"
"""How the names of metrics begin that were measured on validation data."""
_WEIGHTS_ONLY = "; weights only, not exported: "
_MOST_REASON = 500
_OTHER = re.compile(r"[^A-Za-z0-9._-]")


def metric_name(name: str) -> str:
    """Return the name that a version has a metric by: what no name may have is "_" in it, as in "acc_1" for "acc@1"."""
    return (_OTHER.sub("_", name).lstrip("._-") or "metric")[:MAX_LENGTH]


def description(job: str, seed: int | None, reason: str = "") -> str:
    """Return the description of a job's version.

    Args:
        job: its id.
        seed: None: a script's own, which nobody knows.
        reason: why it is weights alone; empty: it can be served.
    """
    seeded = "" if seed is None else f", seed {seed}"
    return f"trained by job {job}{seeded}" + (f"{_WEIGHTS_ONLY}{reason:.{_MOST_REASON}}" if reason else "")


def weights_only(version: Version) -> str:
    """Why a job's version is weights alone, which cannot be served; empty: it is more than that."""
    return version.description.partition(_WEIGHTS_ONLY)[2]


def shortfall(found: Version, before: Version, objective: Objective) -> str:
    """Why a version is not better than one of before; empty: it is.

    What was measured on validation data counts, or where the one before has nothing of that, on training data. Of what
    was not measured, or is not finite, nobody knows whether it is better.
    """
    name = _compared(before.metrics, objective.metric)
    if not name:
        return f"version {before.version} has no {objective.metric} to be compared with"
    if name not in found.metrics:
        return f"version {found.version} has no finite {name} to be compared with that of version {before.version}"
    own, other = found.metrics[name], before.metrics[name]
    gain = own - other if objective.higher_is_better else other - own
    if gain > objective.min_delta:
        return ""
    return f"version {found.version} is not better than version {before.version}: {name} {own:g}, that one's {other:g}"


def _compared(metrics: Mapping[str, float], metric: str) -> str:
    names = (metric_name(VALIDATION + metric), metric_name(metric))
    return next((name for name in names if name in metrics), "")
