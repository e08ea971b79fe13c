"""Commands on aliases: moved, looked back on, and moved back."""

from __future__ import annotations

from typing import Annotated

import typer

from modelyard.catalogue import AliasChange
from modelyard.cli.command import Name, Session, remote
from modelyard.cli.output import table, when
from modelyard.errors import InvalidInputError
from modelyard.names import parse_reference

app = typer.Typer()


@app.command()
@remote
def alias(
    session: Session,
    name: Name,
    alias: Annotated[str, typer.Argument(metavar="ALIAS", help="the movable name")],
    version: Annotated[str, typer.Argument(metavar="VERSION", help="what it is to point at")] = "",
    force: Annotated[bool, typer.Option("--force", help="even to a version that breaks its callers")] = False,
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
            moved = client.set_alias(name, alias, version, force=force)
            session.output.show(moved, f"{name}@{moved.name} is {name}@{moved.version}")


@app.command()
@remote
def history(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME[@ALIAS]", help="a model, or one of its aliases")],
) -> None:
    """Show where an alias, or all of a model's, pointed: the newest move first, times in UTC."""
    with session.client() as client:
        changes = client.history(name)
    rows = [
        (when(c.time_s), c.tenant, c.alias, f"{c.from_version or '-'} → {c.to_version or '-'}", _kind(c))
        for c in changes
    ]
    session.output.show(changes, table("when", "who", "alias", "move", "", rows=rows))


def _kind(change: AliasChange) -> str:
    if change.rollback:
        return "rolled back"
    if not change.from_version:
        return "created"
    return "" if change.to_version else "deleted"


@app.command()
@remote
def rollback(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME@ALIAS", help="an alias of a model")],
) -> None:
    """Point an alias at what it pointed at before its last move; again, at what came before that."""
    reference = parse_reference(name)
    if not reference.version:
        raise InvalidInputError(f"rollback: expected NAME@ALIAS, got {name!r}")
    with session.client() as client:
        moved = client.rollback(name)
    session.output.show(moved, f"{name} is {reference.model}@{moved.version} again")
