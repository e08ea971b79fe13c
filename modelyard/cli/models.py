"""Commands that look at the catalogue: `models` and `show`."""

from __future__ import annotations

from typing import Annotated

import typer

from modelyard.catalogue import Alias, File, Lifecycle, Model, Resources, Signature, Version
from modelyard.cli.command import Reference, Session, remote
from modelyard.cli.output import Part, facts, pairs, table, when
from modelyard.config import format_bytes
from modelyard.names import check_name, parse_reference

app = typer.Typer()

Deleted = Annotated[bool, typer.Option("--deleted", help="also what is deleted and can be brought back")]


@app.command()
@remote
def models(
    session: Session,
    prefix: Annotated[str, typer.Argument(metavar="[PREFIX]", help="how their names begin")] = "",
    condition: Annotated[
        str | None, typer.Option("--filter", help="versions by conditions, '' for all; see docs/filters.md")
    ] = None,
    order_by: Annotated[
        str | None, typer.Option("--order-by", help="of versions: fields, each perhaps with ' desc'")
    ] = None,
    deleted: Deleted = False,
) -> None:
    """List models, or with --filter the versions that it finds."""
    if condition is not None or order_by is not None:
        _search(session, _joined(condition or "", prefix, deleted=deleted), order_by or "")
        return
    with session.client() as client:
        found = client.models(prefix, show_deleted=deleted)
    columns = ["model", "latest", "aliases", "labels", "tenant", "description", *(["state"] if deleted else [])]
    rows = [
        (m.name, m.latest_version, _aliases(m), pairs(m.labels), m.tenant, m.description, _state(m))[: len(columns)]
        for m in found
    ]
    session.output.show(found, table(*columns, rows=rows))


def _joined(condition: str, prefix: str, *, deleted: bool) -> str:
    """One filter, the user's own part first, so that the columns of errors are those of what was typed."""
    begins = f'name = "{check_name("model", prefix)}*"' if prefix else ""
    states = "(state = ACTIVE OR state = DELETED)" if deleted else ""
    return " AND ".join(filter(None, (condition, begins, states)))


def _search(session: Session, condition: str, order_by: str) -> None:
    with session.client() as client:
        found = client.search(condition, order_by=order_by)
    document = [{"model": model, "version": version} for model, version in found]
    rows = [
        (f"{v.model}@{v.version}", when(v.create_time_s), format_bytes(v.size_bytes), v.format, _signature(v.signature))
        for _, v in found
    ]
    session.output.show(document, table("version", "published", "size", "format", "signature", rows=rows))


@app.command()
@remote
def show(session: Session, name: Reference, deleted: Deleted = False) -> None:
    """Show a model and its versions, or one version with its files."""
    reference = parse_reference(name)
    files: tuple[File, ...] = ()
    with session.client() as client:
        model = client.model(reference.model)
        if reference.version:
            found = [client.version(name)]
            files = client.manifest(reference.model, found[0].version).files
        else:
            found = client.versions(name, show_deleted=deleted)
    listed = [{"path": file.path, "size_bytes": file.size_bytes} for file in files]
    parts = _version(model, found[0], files) if reference.version else _model(model, found)
    session.output.show({"model": model, "versions": found, "files": listed}, *parts)


def _model(model: Model, versions: list[Version]) -> list[Part]:
    said = {
        "model": model.name,
        "description": model.description,
        "labels": pairs(model.labels),
        "licence": model.licence,
        "registered": f"{when(model.create_time_s)} by {model.tenant}",
        "changed": when(model.update_time_s),
        "aliases": _aliases(model),
        "keeps": _kept(model.keep_last),
        "state": _state(model),
    }
    latest = [v.signature for v in versions if v.version == model.latest_version]
    signature = {"signature": _signature(latest[0])} if latest else {}
    rows = [_row(model, version) for version in reversed(versions)]
    listing = table(
        "version", "published", "size", "format", "aliases", "metrics", "parent", rows=rows, whole=["size", "metrics"]
    )
    return [facts({**said, **signature}), listing]


def _kept(count: int) -> str:
    if not count:
        return ""
    return "the last version" if count == 1 else f"the last {count} versions"


def _row(model: Model, version: Version) -> tuple[str, ...]:
    deleted = "\ndeleted" if version.state is Lifecycle.DELETED else ""
    return (
        version.version + deleted,
        when(version.create_time_s),
        format_bytes(version.size_bytes),
        version.format,
        _names(model, version),
        pairs(version.metrics).replace(", ", "\n"),
        version.lineage.parent_version.removeprefix(f"{model.name}@"),
    )


def _version(model: Model, version: Version, files: tuple[File, ...]) -> list[Part]:
    said = {
        "version": f"{version.model}@{version.version}",
        "description": version.description or model.description,
        "labels": pairs({**model.labels, **version.labels}),
        "licence": model.licence,
        "published": f"{when(version.create_time_s)} by {version.tenant}",
        "changed": when(version.update_time_s) if version.update_time_s != version.create_time_s else "",
        "aliases": _names(model, version),
        "state": _state(version),
        "format": version.format,
        "signature": _signature(version.signature),
        "needs": _needs(version.resources),
        "parent": version.lineage.parent_version,
        "job": version.lineage.job,
        "dataset": version.lineage.dataset,
        "metrics": pairs(version.metrics),
        "size": f"{format_bytes(version.size_bytes)} in {len(files)} file{'' if len(files) == 1 else 's'}",
        "manifest": version.manifest_digest,
    }
    rows = [(file.path, format_bytes(file.size_bytes)) for file in files]
    return [facts(said), table("file", "size", rows=rows)]


def _state(record: Model | Version) -> str:
    if record.state is Lifecycle.ACTIVE:
        return record.state.value
    return f"{record.state.value}, can be brought back until {when(record.expire_time_s)}"


def _aliases(model: Model) -> str:
    return ", ".join(f"{alias.name}={alias.version}{_canary(alias)}" for alias in model.aliases)


def _canary(alias: Alias) -> str:
    return f" ({alias.canary_percent:g}% {alias.canary_version})" if alias.canary_version else ""


def _names(model: Model, version: Version) -> str:
    named = [alias.name for alias in model.aliases if alias.version == version.version]
    canaries = [alias for alias in model.aliases if alias.canary_version == version.version]
    return ", ".join([*named, *(f"{alias.name} ({alias.canary_percent:g}%)" for alias in canaries)])


def _signature(signature: Signature) -> str:
    inputs, outputs = signature.inputs, signature.outputs
    return "\n".join([*(f"in  {spec}" for spec in inputs), *(f"out {spec}" for spec in outputs)])


def _needs(resources: Resources) -> str:
    needs = (
        f"cpu {resources.cpu:g}" if resources.cpu else "",
        f"memory {format_bytes(resources.memory_bytes)}" if resources.memory_bytes else "",
        f"gpu {resources.gpu}" if resources.gpu else "",
    )
    return ", ".join(need for need in needs if need)
