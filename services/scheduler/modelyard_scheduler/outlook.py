"""Whether a version can be loaded anywhere, as far as it is known. Pure: state in, a reason out."""

from __future__ import annotations

from modelyard.deployment import Deployment
from modelyard.reservation import need_of
from modelyard_scheduler.load import selected, unfit
from modelyard_scheduler.state import State

MOST_SAID = 5
"""Workers that are named."""


def unfit_everywhere(deployment: Deployment, state: State) -> str:
    """Why no live worker that it may be on could hold it even if it were empty; empty if one could, or none is live."""
    workers = [w for w in state.workers.items.values() if selected(deployment.on, w)]
    reasons = {w.id: unfit(need_of(deployment), w) for w in workers}
    return f"no live worker can hold it: {_listed(reasons)}" if workers and all(reasons.values()) else ""


def hopeless(deployment: Deployment, state: State) -> str:
    """Why a version will not be loaded as things are: each live worker fails to, or can never hold it; empty if it may.

    Nothing is known where no worker is live. It is for who waits for it to decide for how long.
    """
    workers = [w for w in state.workers.items.values() if selected(deployment.on, w) and not w.draining]
    need = need_of(deployment)
    reasons = {w.id: unfit(need, w) or state.failures.reason(deployment, w.id) for w in workers}
    return f"no live worker can run it: {_listed(reasons)}" if workers and all(reasons.values()) else ""


def _listed(reasons: dict[str, str]) -> str:
    return "; ".join(f"{worker}: {reason}" for worker, reason in sorted(reasons.items())[:MOST_SAID])
