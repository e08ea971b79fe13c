"""Commands that run the whole suite on this machine."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from modelyard.cli.command import local
from modelyard.cli.output import Output, table
from modelyard.errors import PreconditionError

app = typer.Typer()

DEFAULT_DIRECTORY = Path(".modelyard")
Directory = Annotated[Path, typer.Option("--dir", metavar="DIR", help="where the suite keeps its state")]


@app.command()
@local
def up(  # noqa: PLR0913, PLR0917 (each is an option)
    output: Output,
    workers: Annotated[int, typer.Option(min=0, help="how many workers to run")] = 1,
    port: Annotated[int, typer.Option(min=0, max=65535, help="the front door's port; 0: any free one")] = 8001,
    directory: Directory = DEFAULT_DIRECTORY,
    detach: Annotated[bool, typer.Option("--detach", help="return once it is ready, and leave it running")] = False,
    capacity: Annotated[str, typer.Option(metavar="cpu=8,memory=32GiB", help="what each worker announces")] = "",
    processes: Annotated[int, typer.Option(min=1, help="front-door processes on the one port")] = 1,
    store: Annotated[
        str, typer.Option(metavar="URL", help="where artifacts are kept: a directory or s3://BUCKET/PREFIX; remembered")
    ] = "",
    allow_unsafe: Annotated[
        bool | None,
        typer.Option("--allow-unsafe/--no-allow-unsafe", help="let artifacts hold pickles and code; remembered"),
    ] = None,
    grace_s: Annotated[
        float | None,
        typer.Option(
            "--grace-s", min=0, help="seconds for which `undelete` can bring back what was deleted; remembered"
        ),
    ] = None,
    collect_every_s: Annotated[
        float | None,
        typer.Option("--collect-every-s", min=0, help="seconds between two collections; 0: never; remembered"),
    ] = None,
    dataset_urls: Annotated[
        str | None,
        typer.Option(
            "--dataset-urls", metavar="PREFIX,...", help="URLs below these may be datasets of jobs; remembered"
        ),
    ] = None,
    allow_code: Annotated[
        bool, typer.Option("--allow-code/--no-allow-code", help="let workers run the code of those who train")
    ] = True,
    lease_s: Annotated[
        int, typer.Option("--lease-s", min=2, max=3600, help="seconds after which a service that is silent is given up")
    ] = 15,
) -> None:
    """Run etcd, Redis, registry, scheduler and workers as local processes; Ctrl-C stops them."""
    commands = _commands()
    with _lines(output):
        asked = commands.Asked(store, allow_unsafe, grace_s, collect_every_s, dataset_urls)
        which = directory, workers, port, detach, capacity, processes, asked, allow_code, lease_s
        options = commands.UpOptions(*which)
        status = commands.up(options)
    if status:
        raise typer.Exit(status)


@app.command()
@local
def down(output: Output, directory: Directory = DEFAULT_DIRECTORY) -> None:
    """Stop what `up` started in the directory; its state stays."""
    commands = _commands()
    with _lines(output):
        status = commands.down(directory)
    if status:
        raise typer.Exit(status)


@app.command()
@local
def status(output: Output, directory: Directory = DEFAULT_DIRECTORY) -> None:
    """Show the processes of the suite in the directory."""
    found = _commands().status(directory)
    rows = [(p.name, p.pid or "", p.address, p.metrics, p.state.value, p.restarts, p.reason) for p in found.processes]
    title = f"modelyard {'runs' if found.running else 'does not run'} in {found.directory}"
    columns = ("process", "pid", "address", "metrics", "state", "restarts", "reason")
    output.show(found, table(*columns, rows=rows, title=title) if rows else title)


def _commands() -> Any:
    """The suite's own module, loaded only here: the SDK and the other commands do without what it needs."""
    try:
        from modelyard.local import commands  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise PreconditionError(f"{error.name} is not installed: pip install 'modelyard[server,local]'") from None
    return commands


class _JsonLines(io.TextIOBase):
    """Writes each line as an object with a `message`."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._line = ""

    def write(self, text: str) -> int:
        """Take some text; lines that are complete are printed."""
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            print(json.dumps({"message": line}), file=self._stream, flush=True)
        return len(text)


@contextlib.contextmanager
def _lines(output: Output) -> Iterator[None]:
    """Let what is printed inside come out as JSON where that was asked for."""
    with contextlib.redirect_stdout(_JsonLines(sys.stdout)) if output.as_json else contextlib.nullcontext():
        yield
