"""Commands that change, delete and bring back models and versions."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, TypeVar

import typer

from modelyard.catalogue import Model, Version
from modelyard.cli.command import Labels, Metrics, Reference, Session, parse_numbers, parse_pairs, remote
from modelyard.cli.output import span, when
from modelyard.client import Client
from modelyard.errors import InvalidInputError
from modelyard.names import parse_reference

app = typer.Typer()
T = TypeVar("T")


@app.command()
@remote
def update(  # noqa: PLR0913, PLR0917 (each is an option)
    session: Session,
    name: Reference,
    description: Annotated[str | None, typer.Option(help="what it is")] = None,
    label: Labels = None,
    drop_label: Annotated[list[str] | None, typer.Option(metavar="KEY", help="a label to remove")] = None,
    licence: Annotated[str | None, typer.Option(help="of a model")] = None,
    keep_last: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="of a model: how many versions are kept; 0: all")
    ] = None,
    metric: Metrics = None,
    drop_metric: Annotated[list[str] | None, typer.Option(metavar="KEY", help="a metric to remove")] = None,
) -> None:
    """Change what is said of a model or a version. Labels and metrics that are not named stay as they are."""
    labels, metrics = parse_pairs("--label", label), parse_numbers("--metric", metric)
    of_version = bool(parse_reference(name).version)
    _check(name, of_version, {"--licence": licence, "--keep-last": keep_last}, metric or drop_metric)
    with session.client() as client:
        changed: Model | Version
        if of_version:
            version = client.version(name)
            changed = client.update_version(
                version.model,
                version.version,
                description=description,
                labels=_merged(version.labels, labels, drop_label),
                metrics=_merged(version.metrics, metrics, drop_metric),
                etag=version.etag,
            )
        else:
            model = client.model(name)
            changed = client.update_model(
                name,
                description=description,
                labels=_merged(model.labels, labels, drop_label),
                licence=licence,
                keep_last=keep_last,
                etag=model.etag,
            )
    session.output.show(changed, f"changed {_full_name(changed)}")


def _check(name: str, of_version: bool, models_own: Mapping[str, object], metrics: object) -> None:
    given = [option for option, value in models_own.items() if value is not None]
    if of_version and given:
        raise InvalidInputError(f"{given[0]}: expected the name of a model, got the version {name!r}")
    if metrics and not of_version:
        raise InvalidInputError(f"--metric: expected a version as NAME@VERSION, got the model {name!r}")


def _merged(old: Mapping[str, T], new: Mapping[str, T], dropped: list[str] | None) -> dict[str, T] | None:
    """All pairs as they are to be; None if nothing changes."""
    for key in dropped or ():
        if key not in old:
            raise InvalidInputError(f"expected one of {', '.join(sorted(old)) or 'none'} to remove, got {key!r}")
    if not new and not dropped:
        return None
    return {key: value for key, value in {**old, **new}.items() if key not in (dropped or ())}


def _full_name(record: Model | Version) -> str:
    return record.name if isinstance(record, Model) else f"{record.model}@{record.version}"


@app.command()
@remote
def rm(
    session: Session,
    name: Reference,
    purge: Annotated[bool, typer.Option("--purge", help="for good: it cannot be brought back")] = False,
) -> None:
    """Delete a version, or a model with all its versions; for some days `undelete` brings it back."""
    with session.client() as client:
        deleted = _delete(client, name, purge)
    expire_time_s = 0.0 if purge else deleted.expire_time_s
    left = span(max(0.0, expire_time_s - time.time()))
    again = f"until {when(expire_time_s)} UTC ({left}) `modelyard undelete {name}` brings it back"
    session.output.show(
        {"deleted": name, "purged": purge, "expire_time_s": expire_time_s},
        f"purged {name}" if purge else f"deleted {name}; {again}",
    )


def _delete(client: Client, name: str, purge: bool) -> Model | Version:
    if parse_reference(name).version:
        return client.delete_version(name, purge=purge)
    return client.delete_model(name, purge=purge)


@app.command()
@remote
def undelete(session: Session, name: Reference) -> None:
    """Bring back a version, or a model with its versions."""
    with session.client() as client:
        found: Model | Version
        found = client.undelete_version(name) if parse_reference(name).version else client.undelete_model(name)
    session.output.show(found, f"{_full_name(found)} is back")
