"""The command that tells changes of the catalogue as they come."""

from __future__ import annotations

from typing import Annotated

import typer

from modelyard.catalogue import Alias, Lifecycle, Model, Version
from modelyard.cli.aliases import share
from modelyard.cli.command import Session, remote
from modelyard.config import format_bytes
from modelyard.events import CatalogueEvent, EventKind

app = typer.Typer()


@app.command()
@remote
def watch(
    session: Session,
    prefix: Annotated[str, typer.Argument(metavar="[PREFIX]", help="how the models' names begin")] = "",
    revision: Annotated[
        int, typer.Option("--from", min=0, metavar="REVISION", help="the last one seen; 0: all that is there first")
    ] = 0,
) -> None:
    """Print what is there, then every change of models, versions and aliases, until Ctrl-C."""
    with session.client() as client:
        for event in client.watch(revision, prefix):
            session.output.show(_document(event), f"{event.revision or '':<8} {_text(event)}")


def _document(event: CatalogueEvent) -> dict[str, object]:
    resource = event.resource
    return {
        "kind": event.kind,
        "revision": event.revision,
        "model": event.model,
        "type": type(resource).__name__.lower() if resource else "",
        "resource": resource,
    }


def _text(event: CatalogueEvent) -> str:
    if event.kind is EventKind.SYNCED:
        return "that is all there is; changes follow"
    if event.kind is EventKind.RESET:
        return "history is gone: forget what came before; all that is there follows"
    gone = event.kind is EventKind.DELETE
    match event.resource:
        case Model() as model:
            return f"model    {model.name}" + (" purged" if gone else _deleted(model))
        case Version() as version:
            said = f": {version.format}, {format_bytes(version.size_bytes)}{_deleted(version)}"
            return f"version  {version.model}@{version.version}" + (" purged" if gone else said)
        case Alias() as alias:
            return f"alias    {event.model}@{alias.name}" + (
                " deleted" if gone else f" is {alias.version}{share(alias)}"
            )
    return event.kind.value


def _deleted(record: Model | Version) -> str:
    return ", deleted" if record.state is Lifecycle.DELETED else ""
