"""Commands on aliases: moved, looked back on, and moved back."""

from __future__ import annotations

from typing import Annotated

import typer

from modelyard.catalogue import Alias, AliasChange
from modelyard.cli.command import Name, Session, remote
from modelyard.cli.output import table, when
from modelyard.errors import InvalidInputError
from modelyard.names import parse_reference

app = typer.Typer()


@app.command()
@remote
def alias(  # noqa: PLR0913, PLR0917 (each is an option)
    session: Session,
    name: Name,
    alias: Annotated[str, typer.Argument(metavar="ALIAS", help="the movable name")],
    version: Annotated[str, typer.Argument(metavar="VERSION", help="what it is to point at")] = "",
    canary: Annotated[str, typer.Option(metavar="VERSION", help="a second version, for a share of the calls")] = "",
    percent: Annotated[float, typer.Option(help="the share of --canary in a hundred calls")] = 0.0,
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
            moved = client.set_alias(name, alias, version, canary_version=canary, canary_percent=percent, force=force)
            session.output.show(moved, f"{name}@{moved.name} is {name}@{moved.version}{share(moved)}")


def share(alias: Alias | AliasChange) -> str:
    """Say which share of an alias's calls goes to a second version, if one does."""
    return f", {alias.canary_percent:g}% of its calls {alias.canary_version}" if alias.canary_version else ""


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
        (when(c.time_s), c.tenant, c.alias, f"{c.from_version or '-'} → {c.to_version or '-'}{share(c)}", _kind(c))
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
