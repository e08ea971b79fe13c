"""The command that has a model trained."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated

import typer

from modelyard.cli.command import Session, remote
from modelyard.cli.grouped import GroupedCommand, grouped
from modelyard.cli.jobs import text
from modelyard.cli.jobs.watching import follow
from modelyard.cli.training import options as given
from modelyard.sdk.jobs.training_options import TrainingJobOptions

app = typer.Typer()
EXAMPLES = """Examples:

\b
  python -m examples.digits.data .    # writes train.npz and held_out.npz
  modelyard train examples/digits --data train.npz --target digit \\
      --held-out 0.2 --epochs 30 --workers 2 --set lr=0.001
  modelyard train examples/digits --data train.npz --validation held_out.npz \\
      --target digit --metric accuracy --mode max --deploy --if-better
  modelyard train . --script train.py --workers 2 --set lr=0.1
"""


@app.command(cls=GroupedCommand, epilog=EXAMPLES)
@remote
@grouped
def train(  # noqa: PLR0913, PLR0917 (each is a group of options)
    session: Session,
    directory: Annotated[Path, typer.Argument(metavar="RECIPE_DIR", help="of a recipe, or of a script; it is sent")],
    code: given.CodeOptions,
    data: given.DataOptions,
    length: given.LengthOptions,
    workers: given.WorkerOptions,
    best: given.BestOptions,
    saved: given.CheckpointOptions,
    release: given.ReleaseOptions,
    run: given.RunOptions,
) -> None:
    """Train a model on several workers, and show how it goes: docs/training.md."""
    groups: tuple[given.Group, ...] = (code, data, length, workers, best, saved, release, run)
    options = functools.reduce(lambda options, group: group.applied(options), groups, TrainingJobOptions())
    rows, validation = data.read(options.entry), data.validation or None
    with session.client() as client:
        with session.output.progress() as bars:
            name = code.model or directory.resolve().name
            job = client.jobs.train(name, directory, rows, options, validation=validation, progress=bars)
        session.output.show(text.document(job), f"submitted {job.id}: {text.model(job)}")
    if not run.detach:
        follow(session, job)
