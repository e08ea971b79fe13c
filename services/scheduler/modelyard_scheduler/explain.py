"""Why a deployment is, or is not, READY. Pure: state in, findings out, the cause first."""

from __future__ import annotations

from collections.abc import Iterable

from modelyard.deployment import Deployment, Eviction, Instance, InstanceState, Worker
from modelyard.names import ModelVersion
from modelyard.reservation import need_of
from modelyard_scheduler.failures import MOST_FAILURES
from modelyard_scheduler.load import Load, obstacle, selected, selector_text
from modelyard_scheduler.state import State

MOST_HOLDERS = 5
FITS = "would fit; being placed"
_TRYING = (InstanceState.LOADING, InstanceState.FAILED)


def explain(deployment: Deployment, state: State, leader: bool) -> list[str]:
    """Return one finding a line."""
    version = ModelVersion(deployment.model, deployment.version)
    instances = [i for i in state.instances_of(version) if not state.is_internal(i)]
    ready = state.ready_replicas(deployment, instances)
    findings = [f"{version}: {ready} of {deployment.replicas} replicas READY; each needs {need_of(deployment)}"]
    placed = state.placed(version)
    if deployment.on_demand and not deployment.replaces and str(version) not in state.activities.items:
        findings += _asleep(deployment, state.evictions.items.get(str(version)))
        return findings + [_instance(i, deployment, placed, state) for i in instances]
    findings += [_instance(i, deployment, placed, state) for i in instances]
    reported = {i.worker for i in instances}
    findings += [f"{w}: {_unreported(w, state)}" for w in sorted(placed) if w not in reported]
    findings += _replaced(deployment, state)
    if len(placed) < deployment.replicas:
        findings += _unplaced(deployment, placed, state, leader)
    elif others := [w for w in placed if _leaves(deployment, w, state)]:
        findings += _unmoved(deployment, placed, others, state)
    return findings


def explain_jobs(version: ModelVersion, state: State, leader: bool) -> list[str]:
    """Return which jobs want a version loaded, and what has become of it on each worker; nothing if none does."""
    wishes, deployment = state.wishes_of(version), state.internal().get(version)
    if deployment is None:
        return []
    served, placed = state.placed(version), state.placed(version, internal=True)
    beside = f" beside {len(served)} of its deployment" if served else ""
    findings = [_wish(job, one) for job, one in wishes.items()]
    replicas = "1 replica" if len(placed) == 1 else f"{len(placed)} replicas"
    findings.append(f"{version}: {replicas} for jobs{beside}; each needs {need_of(deployment)}")
    instances = [i for i in state.instances_of(version) if i.worker in placed]
    findings += [_puller(i, deployment, placed, state) for i in instances]
    reported = {i.worker for i in instances}
    findings += [f"{w}: {_unreported(w, state)}" for w in placed if w not in reported]
    if len(served) + len(placed) >= deployment.replicas:
        return findings
    if not leader or not state.workers.items:
        return findings + _unplaced(deployment, [*served, *placed], state, leader)
    return findings + obstacles(deployment, [*served, *placed], state)


def _wish(job: str, wish: Deployment) -> str:
    if not wish.replicas:
        return f"job {job}: it has ended; what is loaded stays for a minute, unless others need the room"
    return f"job {job}: wants it on {wish.replicas} worker{'' if wish.replicas == 1 else 's'}"


def _puller(instance: Instance, deployment: Deployment, placed: Iterable[str], state: State) -> str:
    pulls = ": it pulls tasks" if instance.state is InstanceState.READY else ""
    return _instance(instance, deployment, placed, state) + pulls


def _asleep(deployment: Deployment, eviction: Eviction | None) -> list[str]:
    why = f"unloaded, because {eviction.reason}" if eviction else "not called so far"
    idle = f"; unloaded when it was not called for {deployment.idle_s:g} s" if deployment.idle_s else ""
    return [f"on demand: {why}; it is loaded at its next call{idle}"]


def _instance(instance: Instance, deployment: Deployment, placed: Iterable[str], state: State) -> str:
    notes = [instance.reason] if instance.reason else []
    if instance.failures:
        notes.append("failed once here" if instance.failures == 1 else f"failed {instance.failures} times here")
    last = state.failures.reason(deployment, instance.worker)
    if last and last != instance.reason:
        notes.append(f"the last time: {last}")
    if instance.state in _TRYING and instance.failures >= MOST_FAILURES:
        notes.append("it is placed on another worker if one can hold it")
    if instance.worker not in placed:
        notes.append("withdrawn; it ends when its calls are answered")
    elif instance.options != deployment.options:
        notes.append(_changing(instance))
    if instance.worker in placed and (leaves := _leaves(deployment, instance.worker, state)):
        notes.append(f"{leaves}: it goes when another replica answers")
    return ": ".join([instance.worker, instance.state.value, *(["; ".join(notes)] if notes else [])])


def _changing(instance: Instance) -> str:
    if instance.state is InstanceState.UNLOADING:
        return "it is loaded with the new options when it is gone: there is no room for both at once"
    return "with the options of before; they are changed replica by replica, while the others answer"


def _unreported(worker: str, state: State) -> str:
    if worker in state.workers.items:
        return "placed here, the worker has not begun to load it"
    return "placed here, but the worker is gone; it is placed anew unless it comes back"


def _replaced(deployment: Deployment, state: State) -> list[str]:
    """What this one ends, and what ends this one."""
    findings = [f"replaces {v}: that ends when all replicas of this one are READY" for v in deployment.replaces]
    heirs = (d for d in state.deployments.items.values() if d.model == deployment.model)
    version = deployment.version
    return findings + [f"being replaced by {d.model}@{d.version}" for d in heirs if version in d.replaces]


def _leaves(deployment: Deployment, worker_id: str, state: State) -> str:
    """Why a replica must move; empty if it need not."""
    worker = state.workers.items.get(worker_id)
    if worker is None:
        return ""
    if worker.draining:
        return "the worker drains"
    return "" if selected(deployment.on, worker) else f"not selected by --on {selector_text(deployment.on)}"


def _unmoved(deployment: Deployment, placed: list[str], leaving: list[str], state: State) -> list[str]:
    """Who could take what must move."""
    if len(placed) - len(leaving) >= deployment.replicas:
        return []
    return ["it cannot move yet", *_unknown(deployment, state), *obstacles(deployment, placed, state)]


def _unplaced(deployment: Deployment, placed: list[str], state: State, leader: bool) -> list[str]:
    missing = deployment.replicas - len(placed)
    if not leader:
        return [f"{missing} replicas not placed: no scheduler leads"]
    if not state.workers.items:
        return [f"{missing} replicas not placed: no worker is live"]
    findings = [f"{missing} replicas not placed; each is to be on a worker of its own"]
    return findings + _unknown(deployment, state) + obstacles(deployment, placed, state)


def _unknown(deployment: Deployment, state: State) -> list[str]:
    unknown = sorted(set(deployment.on.workers) - set(state.workers.items))
    return [f"{worker}: selected by --on, but no such worker is live" for worker in unknown]


def obstacles(deployment: Deployment, placed: Iterable[str], state: State) -> list[str]:
    """Return why each live worker that it is not placed on does not get a replica."""
    load = state.load()
    others = sorted((w for w in state.workers.items.values() if w.id not in placed), key=lambda w: w.id)
    return [f"{w.id}: {_obstacle(deployment, w, load, state)}" for w in others]


def _obstacle(deployment: Deployment, worker: Worker, load: Load, state: State) -> str:
    """Why a worker does not get a replica."""
    if not selected(deployment.on, worker):
        return f"not selected by --on {selector_text(deployment.on)}"
    if worker.draining:
        return "it drains: it is about to end"
    reason = obstacle(need_of(deployment), worker, load)
    if not reason:
        failure = state.failures.reason(deployment, worker.id)
        return f"it failed there, and is tried elsewhere first: {failure}" if failure else FITS
    held_here = (p for p in state.placements.items.values() if p.worker == worker.id)
    holders = sorted(f"{p.model}@{p.version}{' (for jobs)' * p.internal}" for p in held_here)
    more = f" and {len(holders) - MOST_HOLDERS} more" if len(holders) > MOST_HOLDERS else ""
    held = f"; held by {', '.join(holders[:MOST_HOLDERS])}{more}" if "are free" in reason and holders else ""
    return reason + held
