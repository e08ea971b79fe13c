"""Commands on deployments and workers."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from modelyard.cli.command import Reference, Session, remote
from modelyard.cli.output import pairs, table, when
from modelyard.config import format_bytes
from modelyard.results import DeploymentStatus, WorkerStatus

app = typer.Typer()


@app.command()
@remote
def deploy(
    session: Session,
    name: Reference,
    replicas: Annotated[int, typer.Option(min=1, help="how many workers shall hold it")] = 1,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="return once all replicas answer, or at once")] = True,
    timeout: Annotated[float, typer.Option(min=0.1, help="seconds to wait")] = 60.0,
) -> None:
    """Serve a version, the newest where none is named."""
    with session.client() as client:
        status = client.deploy(name, replicas=replicas, wait=wait, timeout_s=timeout)
    session.output.show(status, f"{_name(status)}: {_ready(status)}{_where(status)}")


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
    rows = [(_name(d), _ready(d), _instances(d), d.tenant, when(d.create_time_s)) for d in found]
    session.output.show(found, table("deployment", "replicas", "instances", "tenant", "since", rows=rows))


def _instances(status: DeploymentStatus) -> str:
    return "\n".join(f"{i.worker} {i.state.value} {i.reason}".rstrip() for i in status.instances)


@app.command()
@remote
def workers(session: Session) -> None:
    """List live workers."""
    with session.client() as client:
        found = client.workers()
    columns = ("worker", "address", "cpu", "memory", "reserved", "devices", "labels", "placements")
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
    )


@app.command()
@remote
def logs(
    session: Session,
    name: Reference,
    tail: Annotated[int, typer.Option(min=0, metavar="BYTES", help="how much of each log; 0: 64 KiB")] = 0,
) -> None:
    """Print what the runners of a model printed, worker by worker."""
    with session.client() as client:
        parts = client.logs(name, tail_bytes=tail)
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
def why(session: Session, name: Reference) -> None:
    """Say why a model is, or is not, READY: the cause first."""
    with session.client() as client:
        findings = client.explain(name)
    session.output.show({"model": name, "findings": findings}, "\n".join(findings))
