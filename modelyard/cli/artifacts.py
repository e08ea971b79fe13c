"""Commands that move bytes: into the registry, out of it, and those that nothing refers to away."""

from __future__ import annotations

import base64
import sys
from typing import Annotated

import typer

from modelyard.catalogue import Collected, Lineage, Resources
from modelyard.cli.command import (
    Labels,
    Metrics,
    Reference,
    Session,
    parse_numbers,
    parse_pairs,
    parse_size,
    remote,
)
from modelyard.config import format_bytes
from modelyard.names import parse_reference
from modelyard.results import Progress

app = typer.Typer()


@app.command()
@remote
def push(  # noqa: PLR0913, PLR0917 (each is an option)
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="the model; registered if it is new")],
    path: Annotated[str, typer.Argument(metavar="FILE_OR_DIR", help="a .onnx or .pt2 file, or a directory with one")],
    version: Annotated[str, typer.Option(help="the version's name; the next number where none is given")] = "",
    alias: Annotated[str, typer.Option(help="a name to point at the version")] = "",
    label: Labels = None,
    description: Annotated[str, typer.Option(help="what it is")] = "",
    licence: Annotated[str, typer.Option(help="the model's licence, if it is new")] = "",
    parent: Annotated[str, typer.Option(metavar="[NAME@]VERSION", help="the version that it came from")] = "",
    job: Annotated[str, typer.Option(help="the job that made it")] = "",
    dataset: Annotated[str, typer.Option(help="what it was trained on")] = "",
    metric: Metrics = None,
    memory: Annotated[str, typer.Option(metavar="SIZE", help="memory that one instance needs, as 2GiB")] = "",
    cpu: Annotated[float, typer.Option(min=0, help="cores that one instance needs")] = 0,
    gpu: Annotated[int, typer.Option(min=0, help="GPUs that one instance needs")] = 0,
) -> None:
    """Publish a file or directory as a version; only what the registry lacks is sent."""
    resources = Resources(cpu, parse_size("--memory", memory), gpu)
    labels, metrics = parse_pairs("--label", label), parse_numbers("--metric", metric)
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
            lineage=Lineage(parent, job, dataset),
            metrics=metrics,
            progress=follow,
        )
    sent, there = format_bytes(last.done_bytes), format_bytes(last.present_bytes)
    session.output.show(
        published, f"pushed {published.model}@{published.version}: {sent} sent, {there} were there already"
    )


@app.command()
@remote
def pull(
    session: Session,
    name: Reference,
    directory: Annotated[str, typer.Argument(metavar="DIR", help="where the files go")] = ".",
) -> None:
    """Fetch the files of a version, verified; what is there already is not fetched again."""
    with session.client() as client, session.output.progress() as bars:
        version = client.pull(name, directory, progress=bars)
    text = f"pulled {version.model}@{version.version} ({format_bytes(version.size_bytes)}) into {directory}"
    session.output.show(version, text)


@app.command()
@remote
def cat(
    session: Session,
    name: Reference,
    path: Annotated[str, typer.Argument(metavar="PATH", help="a file of the version, as `show` lists it")],
    offset: Annotated[int, typer.Option(min=0, metavar="BYTES", help="where to begin")] = 0,
    length: Annotated[int | None, typer.Option(min=0, metavar="BYTES", help="how many; to the end if left out")] = None,
) -> None:
    """Write a file of a version to standard output, or with --json its bytes in base64."""
    with session.client() as client:
        parts = client.read_file(name, path, offset=offset, length=length)
        if session.output.as_json:
            reference = parse_reference(name)
            document = {"model": reference.model, "version": reference.version, "path": path, "offset": offset}
            session.output.show({**document, "base64": base64.b64encode(b"".join(parts)).decode()})
            return
        for part in parts:
            sys.stdout.buffer.write(part)
        sys.stdout.buffer.flush()


@app.command()
@remote
def gc(
    session: Session,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would be removed")] = False,
    uploads: Annotated[
        bool, typer.Option("--uploads", help="also let go what uploads hold that have not been published")
    ] = False,
    timeout: Annotated[float, typer.Option(min=1, help="seconds to wait")] = 600.0,
) -> None:
    """Purge what was deleted and whose grace period is over; remove the bytes that nothing refers to."""
    with session.client() as client:
        collected = client.collect_garbage(dry_run=dry_run, uploads=uploads, timeout_s=timeout)
    session.output.show(collected, _collected(collected, "would " if dry_run else ""))


def _collected(collected: Collected, would: str) -> str:
    removed = f"{_chunks(collected.removed_chunks)} ({format_bytes(collected.removed_bytes)})"
    kept = f"{_chunks(collected.kept_chunks)} ({format_bytes(collected.kept_bytes)})"
    verbs = ("purge", "remove", "keep") if would else ("purged", "removed", "kept")
    lines = [f"{would}{verbs[0]} {name}" for name in collected.purged]
    return "\n".join([*lines, f"{would}{verbs[1]} {removed}, {verbs[2]} {kept}"])


def _chunks(count: int) -> str:
    return f"{count} chunk{'' if count == 1 else 's'}"
