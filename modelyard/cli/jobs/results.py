"""The command that fetches the results of a job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelyard.cli.command import Session, remote
from modelyard.client import Client
from modelyard.config import format_bytes
from modelyard.jobs.job import Job, ResultsHeader
from modelyard.jobs.spec import ResultFormat

app = typer.Typer()


@app.command("results")
@remote
def fetch_results(
    session: Session,
    job: Annotated[str, typer.Argument(metavar="JOB", help="its id")],
    path: Annotated[Path | None, typer.Argument(metavar="[PATH]", help="a file; a directory for several")] = None,
    output: Annotated[str, typer.Option(metavar="NAME", help="of npy: only this output, or the key column")] = "",
) -> None:
    """Fetch results: what is there by now, if the job has not ended. A download that broke off goes on."""
    with session.client() as client, session.output.progress() as bars:
        found = client.jobs.get(job)
        files = _files(client, found, path, output)
        headers = {where: client.jobs.results(job, where, name, progress=bars) for name, where in files.items()}
    documents = [{"path": str(where), "results": header} for where, header in headers.items()]
    session.output.show(documents, "\n".join(_line(found, where, header) for where, header in headers.items()))


def _files(client: Client, job: Job, path: Path | None, output: str) -> dict[str, Path]:
    """Where each output goes; Parquet has all of them in one file."""
    inference = job.spec.inference
    if inference.output.format is ResultFormat.PARQUET:
        return {output: path or Path(f"{job.id}.parquet")}
    if output:
        return {output: path or Path(_file(output))}
    names = [spec.name for spec in client.version(inference.model, inference.version).signature.outputs]
    names = [*filter(None, [inference.output.key_column]), *names]
    return {name: (path or Path(job.id)) / _file(name) for name in names}


def _file(output: str) -> str:
    return f"{output.replace('/', '_')}.npy"


def _line(job: Job, path: Path, header: ResultsHeader) -> str:
    more = f"; the job is {job.state}" if job.ended else "; there will be more"
    return f"{path}: {header.rows:,} rows, {format_bytes(header.size_bytes)}{'' if header.complete else more}"
