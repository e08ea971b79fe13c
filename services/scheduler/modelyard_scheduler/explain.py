"""Why a deployment is, or is not, READY. Pure: state in, findings out, the cause first."""

from __future__ import annotations

from modelyard.config import format_bytes
from modelyard.deployment import Deployment, InstanceState
from modelyard.names import ModelVersion
from modelyard_scheduler.placement import obstacle
from modelyard_scheduler.state import State


def explain(deployment: Deployment, state: State, leader: bool) -> list[str]:
    """Return one finding a line."""
    version = ModelVersion(deployment.model, deployment.version)
    instances = state.instances_of(version)
    ready = [i for i in instances if i.state is InstanceState.READY]
    need = deployment.resources
    findings = [
        f"{version}: {len(ready)} of {deployment.replicas} replicas READY; each needs {format_bytes(need.memory_bytes)}"
        + (f", {need.cpu:g} cores" if need.cpu else "")
        + (f", {need.gpu} GPUs" if need.gpu else "")
    ]
    findings += [f"{i.worker}: {i.state}" + (f": {i.reason}" if i.reason else "") for i in instances]
    placed = state.assignment().get(version, [])
    reported = {i.worker for i in instances}
    findings += [f"{w}: {_unreported(w, state)}" for w in sorted(placed) if w not in reported]
    if len(placed) < deployment.replicas:
        findings += _unplaced(deployment, placed, state, leader)
    return findings


def _unreported(worker: str, state: State) -> str:
    if worker in state.workers.items:
        return "placed here, the worker has not begun to load it"
    return "placed here, but the worker is gone; it is placed anew unless it comes back"


def _unplaced(deployment: Deployment, placed: list[str], state: State, leader: bool) -> list[str]:
    missing = deployment.replicas - len(placed)
    if not leader:
        return [f"{missing} replicas not placed: no scheduler leads"]
    if not state.workers.items:
        return [f"{missing} replicas not placed: no worker is live"]
    load = state.load()
    findings = [f"{missing} replicas not placed; each is to be on a worker of its own"]
    others = sorted((w for w in state.workers.items.values() if w.id not in placed), key=lambda w: w.id)
    reasons = ((w, obstacle(deployment.resources, w, load)) for w in others)
    return [*findings, *(f"{w.id}: {reason or 'would fit; being placed'}" for w, reason in reasons)]
