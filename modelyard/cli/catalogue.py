"""Commands on models, versions and aliases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelyard.catalogue import Model, Resources, Version
from modelyard.cli.command import Session, parse_labels, remote
from modelyard.cli.output import pairs, table, when
from modelyard.config import format_bytes, parse_bytes
from modelyard.errors import InvalidInputError
from modelyard.names import parse_reference
from modelyard.results import Progress

app = typer.Typer()

Name = Annotated[str, typer.Argument(metavar="NAME", help="a model")]
Reference = Annotated[
    str, typer.Argument(metavar="NAME[@VERSION]", help="a model, or a version of it by name or alias")
]


@app.command()
@remote
def push(  # noqa: PLR0913, PLR0917 (each is an option)
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="the model; registered if it is new")],
    path: Annotated[Path, typer.Argument(metavar="FILE_OR_DIR", help="a .onnx or .pt2 file, or a directory with one")],
    version: Annotated[str, typer.Option(help="the version's name; the next number where none is given")] = "",
    alias: Annotated[str, typer.Option(help="a name to point at the version")] = "",
    label: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="may be given several times")] = None,
    description: Annotated[str, typer.Option(help="what it is")] = "",
    licence: Annotated[str, typer.Option(help="the model's licence, if it is new")] = "",
    memory: Annotated[str, typer.Option(metavar="SIZE", help="memory that one instance needs, as 2GiB")] = "",
    cpu: Annotated[float, typer.Option(min=0, help="cores that one instance needs")] = 0,
    gpu: Annotated[int, typer.Option(min=0, help="GPUs that one instance needs")] = 0,
) -> None:
    """Publish a file or directory as a version; only what the registry lacks is sent."""
    resources = Resources(cpu, _parse_size("--memory", memory), gpu)
    labels = parse_labels(label or [])
    last = Progress("send", 0, 0)
    with session.client() as client, session.output.progress() as bars:

        def follow(progress: Progress) -> None:
            nonlocal last
            last = progress
            if bars:
                bars(progress)

        published = client.push(
            name,
            path,
            version=version,
            alias=alias,
            labels=labels,
            description=description,
            licence=licence,
            resources=resources,
            progress=follow,
        )
    sent, there = format_bytes(last.done_bytes), format_bytes(last.present_bytes)
    session.output.show(
        published, f"pushed {published.model}@{published.version}: {sent} sent, {there} were there already"
    )


def _parse_size(option: str, text: str) -> int:
    try:
        return parse_bytes(text) if text else 0
    except ValueError as error:
        raise InvalidInputError(f"{option}: {error}") from None


@app.command()
@remote
def models(
    session: Session,
    prefix: Annotated[str, typer.Argument(metavar="[PREFIX]", help="how their names begin")] = "",
    condition: Annotated[str, typer.Option("--filter", help="versions by conditions; see docs/filters.md")] = "",
    order_by: Annotated[str, typer.Option("--order-by", help="with --filter: fields, each perhaps with ' desc'")] = "",
) -> None:
    """List models, or with --filter the versions that it finds."""
    if condition or order_by:
        _search(session, " ".join(filter(None, (f'name = "{prefix}*"' if prefix else "", condition))), order_by)
        return
    with session.client() as client:
        found = client.models(prefix)
    rows = [(m.name, m.latest_version, _aliases(m), pairs(m.labels), m.tenant, m.description) for m in found]
    session.output.show(found, table("model", "latest", "aliases", "labels", "tenant", "description", rows=rows))


def _search(session: Session, condition: str, order_by: str) -> None:
    with session.client() as client:
        found = client.search(condition, order_by=order_by)
    document = [{"model": model, "version": version} for model, version in found]
    rows = [(model.name, *row) for (model, _), row in zip(found, _rows([v for _, v in found]), strict=True)]
    columns = ("model", "version", "published", "size", "format", "signature", "needs")
    session.output.show(document, table(*columns, rows=rows))


def _aliases(model: Model) -> str:
    return ", ".join(f"{alias.name}={alias.version}" for alias in model.aliases)


@app.command()
@remote
def show(session: Session, name: Reference) -> None:
    """Show a model and its versions, or one version."""
    reference = parse_reference(name)
    with session.client() as client:
        model = client.model(reference.model)
        found = [client.version(name)] if reference.version else client.versions(reference.model)
    document = {"model": model, "versions": found}
    if session.output.as_json:
        session.output.show(document, "")
        return
    session.output.show(document, _facts(model))
    session.output.show(
        document, table("version", "published", "size", "format", "signature", "needs", rows=_rows(found))
    )


def _facts(model: Model) -> str:
    facts = {
        "model": model.name,
        "description": model.description,
        "labels": pairs(model.labels),
        "licence": model.licence,
        "tenant": model.tenant,
        "registered": when(model.create_time_s),
        "aliases": _aliases(model),
    }
    return "\n".join(f"{name + ':':13}{value}" for name, value in facts.items() if value)


def _rows(versions: list[Version]) -> list[tuple[str, ...]]:
    return [
        (v.version, when(v.create_time_s), format_bytes(v.size_bytes), v.format, _signature(v), _needs(v.resources))
        for v in versions
    ]


def _signature(version: Version) -> str:
    inputs, outputs = version.signature.inputs, version.signature.outputs
    return "\n".join([*(f"in  {spec}" for spec in inputs), *(f"out {spec}" for spec in outputs)])


def _needs(resources: Resources) -> str:
    needs = (
        f"cpu {resources.cpu:g}" if resources.cpu else "",
        f"memory {format_bytes(resources.memory_bytes)}" if resources.memory_bytes else "",
        f"gpu {resources.gpu}" if resources.gpu else "",
    )
    return ", ".join(need for need in needs if need)


@app.command()
@remote
def alias(
    session: Session,
    name: Name,
    alias: Annotated[str, typer.Argument(metavar="ALIAS", help="the movable name")],
    version: Annotated[str, typer.Argument(metavar="VERSION", help="what it is to point at")] = "",
    delete: Annotated[bool, typer.Option("--delete", help="remove the alias; its version stays")] = False,
) -> None:
    """Point an alias at a version."""
    if delete == bool(version):
        raise InvalidInputError("alias: expected either a version or --delete")
    with session.client() as client:
        if delete:
            client.delete_alias(name, alias)
            session.output.show({"deleted": f"{name}@{alias}"}, f"deleted {name}@{alias}")
        else:
            moved = client.set_alias(name, alias, version)
            session.output.show(moved, f"{name}@{moved.name} is {name}@{moved.version}")


@app.command()
@remote
def rm(session: Session, name: Reference) -> None:
    """Delete a version, or a model with all its versions."""
    with session.client() as client:
        if parse_reference(name).version:
            client.delete_version(name)
        else:
            client.delete_model(name)
    session.output.show({"deleted": name}, f"deleted {name}")


@app.command()
@remote
def pull(
    session: Session,
    name: Reference,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="where the files go")] = Path(),
) -> None:
    """Fetch the files of a version, verified; what is there already is not fetched again."""
    with session.client() as client, session.output.progress() as bars:
        version = client.pull(name, "", directory, progress=bars)
    text = f"pulled {version.model}@{version.version} ({format_bytes(version.size_bytes)}) into {directory}"
    session.output.show(version, text)
