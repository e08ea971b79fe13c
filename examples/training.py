"""From a recipe and its data to a version in the registry."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

from examples.suite import console
from modelyard.aio import Client
from modelyard.catalogue import Version
from modelyard.datasets.source import local
from modelyard.train import Recipe, TrainingOptions, run_local
from modelyard.train.bundle import code_digest, pack
from modelyard.train.data.digest import digest
from modelyard.train.data.opening import TableOptions, open_table
from modelyard.train.export.exporting import Exports, export
from modelyard.train.export.record import TrainingRecord
from modelyard.train.export.run import trained
from modelyard.train.local import LocalResult


@dataclass(frozen=True)
class Task:
    """What is trained on what.

    Attributes:
        model: the name of what comes out.
        recipe: with its parameters.
        code: the recipe's directory.
        train: a file with rows to learn from.
        held_out: a file with others, to measure on.
        target: the column to be learnt.
        options: how long, in which steps.
    """

    model: str
    recipe: Recipe
    code: Path
    train: Path
    held_out: Path
    target: str
    options: TrainingOptions


async def train(client: Client, task: Task) -> Version:
    """Train on this machine, export, register; say what came of it."""
    with tempfile.TemporaryDirectory(prefix="modelyard-trained-") as scratch:
        exports, result = await asyncio.to_thread(_exported, task, Path(scratch) / "exports")
        last = result.history[-1]
        metrics = {f"validation_{name}": value for name, value in last.validation.items()}
        version = await client.push(task.model, exports.artifact, metrics=metrics)
    shown = ", ".join(f"{name} {value:.4g}" for name, value in last.validation.items())
    console.print(f"[bold]trained[/] {version.name} in {last.step} steps; on held-out rows: {shown}")
    console.print(f"[bold]registered[/] as {exports.served}: {version.signature}")
    return version


def _exported(task: Task, directory: Path) -> tuple[Exports, LocalResult]:
    columns = TableOptions(target=task.target)
    rows, held_out = open_table(task.train, columns), open_table(task.held_out, columns)
    result = run_local(task.recipe, rows, held_out, task.options, progress=console.is_terminal)
    record = TrainingRecord(
        task.options.seed,
        result.state.position,
        result.history[-1].validation,
        digest(local(task.train)),
        code_digest(pack(task.code)),
    )
    return export(trained(task.recipe, result.state, held_out, record), directory), result
