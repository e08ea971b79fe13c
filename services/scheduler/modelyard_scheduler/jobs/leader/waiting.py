"""Why a training job has fewer workers than it needs. Pure: state in, a reason out."""

from __future__ import annotations

from modelyard.deployment import Deployment, Instance, InstanceState
from modelyard.jobs.gang import CODE_LABEL, control_of, ranks_of
from modelyard.names import ModelVersion
from modelyard_scheduler.explain import FITS, obstacles
from modelyard_scheduler.outlook import hopeless
from modelyard_scheduler.state import State

MOST_SAID = 5
MOST_CHARACTERS = 1000


def waits_for(job: str, state: State) -> str:
    """What keeps the processes of a job from beginning, or merely that they are being started."""
    found = _room(ranks_of(job), state) or _room(control_of(job), state)
    return (found or _failure(job, state) or "its processes are being started")[:MOST_CHARACTERS]


def no_hope(job: str, state: State) -> str:
    """Why no live worker can run it as things are; empty: one may."""
    internal = state.internal()
    wanted = [internal[name] for name in (ranks_of(job), control_of(job)) if name in internal]
    reasons = [hopeless(one, state) for one in wanted]
    return next(filter(None, reasons), "")[:MOST_CHARACTERS]


def _room(name: ModelVersion, state: State) -> str:
    """What is in the way of so many as it needs at least; empty: nothing."""
    wanted, placed = state.internal().get(name), state.placed(name, internal=True)
    if wanted is None or len(placed) >= wanted.least:
        return ""
    labels = dict(wanted.on.labels)
    if labels and not any(labels.items() <= w.labels.items() for w in state.workers.items.values()):
        return f"waits for workers that run users' code: no live one was started with --{CODE_LABEL[0]}"
    what = "workers" if labels else "a worker for its control process"
    return f"waits for {what}: {len(placed)} of at least {wanted.least}{_lack(wanted, placed, state)}"


def _lack(wanted: Deployment, placed: list[str], state: State) -> str:
    """What is in the way on other workers. All that are needed are placed together: where too few have room none is."""
    said = obstacles(wanted, placed, state)
    against = [one for one in said if not one.endswith(FITS)]
    fit = len(said) - len(against)
    if not fit or len(placed) + fit >= wanted.least:
        return ": " * bool(said) + "; ".join(said[:MOST_SAID])
    few = f", only {fit} more {'has' if fit == 1 else 'have'} room"
    return few + "; " * bool(against) + "; ".join(against[:MOST_SAID])


def _failure(job: str, state: State) -> str:
    instances = [*state.instances_of(ranks_of(job)), *state.instances_of(control_of(job))]
    failed = [one for one in instances if one.state is InstanceState.FAILED or one.failures]
    return "; ".join(_said(one) for one in failed[:MOST_SAID])


def _said(instance: Instance) -> str:
    if instance.state is InstanceState.READY:
        return f"{instance.worker}: begun anew after it has failed, time {instance.failures}"
    return f"{instance.worker}: {instance.state}{': ' * bool(instance.reason)}{instance.reason}"
