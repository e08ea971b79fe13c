"""Commands on deployments and workers."""

from __future__ import annotations

import dataclasses
import re
import sys
from typing import Annotated

import typer

from modelyard.cli.command import Reference, Session, remote
from modelyard.cli.jobs import text
from modelyard.cli.output import pairs, table, when
from modelyard.config import format_bytes
from modelyard.deployment import InstanceOptions
from modelyard.results import DeploymentStatus, InstanceStatus, WorkerStatus

app = typer.Typer()
_JOB = re.compile(r"job-[0-9a-f]{20}")


def summary(status: DeploymentStatus) -> str:
    """Say of a deployment how far it is, in a line."""
    held = status.on_demand and not status.instances
    return f"{_name(status)}: " + ("loaded at its first call" if held else f"{_ready(status)}{_where(status)}")


def _name(status: DeploymentStatus) -> str:
    return f"{status.model}@{status.version}"


def _ready(status: DeploymentStatus) -> str:
    return f"{status.ready_replicas} of {status.replicas} READY"


def _where(status: DeploymentStatus) -> str:
    workers = ", ".join(instance.worker for instance in status.instances)
    return f" on {workers}" if workers else ""


@app.command()
@remote
def undeploy(session: Session, name: Reference) -> None:
    """Stop serving a version, or all of a model's."""
    with session.client() as client:
        versions = client.undeploy(name)
    model = name.partition("@")[0]
    text = "\n".join(f"undeployed {model}@{version}" for version in versions)
    session.output.show({"model": model, "versions": versions}, text)


@app.command()
@remote
def deployments(session: Session) -> None:
    """List deployments."""
    with session.client() as client:
        found = client.deployments()
    rows = [(_name(d), _ready(d), _instances(d), how(d), d.tenant, when(d.create_time_s)) for d in found]
    session.output.show(found, table("deployment", "replicas", "instances", "how", "tenant", "since", rows=rows))


def _instances(status: DeploymentStatus) -> str:
    return "\n".join(" ".join(filter(None, _instance(i))) for i in status.instances)


def _instance(instance: InstanceStatus) -> tuple[str, ...]:
    memory = format_bytes(instance.memory_bytes) if instance.memory_bytes else ""
    return instance.worker, instance.state.value, memory, instance.reason


def how(status: DeploymentStatus) -> str:
    """What was said when it was deployed, but for what is so by default."""
    default = InstanceOptions()
    names = [field.name for field in dataclasses.fields(default)]
    said = {name: getattr(status.options, name) for name in names}
    options = [f"{name}={_option(value)}" for name, value in said.items() if value != getattr(default, name)]
    idle = f" until idle for {status.idle_s:g} s" if status.idle_s else ""
    on = [f"on worker={name}" for name in status.on.workers] + [f"on {key}={value}" for key, value in status.on.labels]
    replaces = [f"replaces {version}" for version in status.replaces]
    return "\n".join([*([f"on demand{idle}"] * status.on_demand), *on, *replaces, *options])


def _option(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


@app.command()
@remote
def workers(session: Session) -> None:
    """List live workers."""
    with session.client() as client:
        found = client.workers()
    columns = ("worker", "address", "cpu", "memory", "reserved", "devices", "labels", "placements", "")
    session.output.show(found, table(*columns, rows=[_worker(worker) for worker in found]))


def _worker(worker: WorkerStatus) -> tuple[str, ...]:
    return (
        worker.id,
        worker.address,
        f"{worker.cpu:g}",
        format_bytes(worker.memory_bytes),
        format_bytes(worker.reserved_bytes),
        ", ".join(device.name for device in worker.devices),
        pairs(worker.labels),
        "\n".join(worker.placements),
        "draining" if worker.draining else "",
    )


@app.command()
@remote
def logs(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME[@VERSION]|JOB", help="a model or a version; a training job")],
    tail: Annotated[int, typer.Option(min=0, metavar="BYTES", help="how much of each log; 0: 64 KiB")] = 0,
) -> None:
    """Print what the runners of a model, or the processes of a training job, printed, worker by worker."""
    with session.client() as client:
        is_job = _JOB.fullmatch(name) is not None
        parts = client.jobs.logs(name, tail_bytes=tail) if is_job else client.logs(name, tail_bytes=tail)
        if session.output.as_json:
            session.output.show(list(parts), "")
            return
        source = ""
        for part in parts:
            if source != (source := f"{part.worker} {name.partition('@')[0]}@{part.version}"):
                print(f"==> {source} <==", flush=True)
            sys.stdout.buffer.write(part.data)
            sys.stdout.buffer.flush()


@app.command()
@remote
def why(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME[@VERSION]|JOB", help="a model or a version; a job")],
) -> None:
    """Say why a model is, or is not, READY, the cause first; of a job its state and the reason."""
    with session.client() as client:
        findings = [text.state(client.jobs.get(name))] if _JOB.fullmatch(name) else client.explain(name)
    session.output.show({"model": name, "findings": findings}, "\n".join(findings))
