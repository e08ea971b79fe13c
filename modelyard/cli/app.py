"""`modelyard`: the verbs, and how the process ends."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import typer

from modelyard import __version__
from modelyard.cli import (
    aliases,
    artifacts,
    changes,
    comparison,
    deploying,
    deployments,
    inference,
    models,
    output,
    watching,
)
from modelyard.cli import local as suite
from modelyard.cli.command import INTERRUPTED, local
from modelyard.cli.jobs import commands as jobs
from modelyard.cli.training import commands as training
from modelyard.errors import InvalidInputError

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for part in (
    suite,
    artifacts,
    models,
    aliases,
    comparison,
    changes,
    watching,
    deploying,
    deployments,
    inference,
    jobs,
    training,
):
    app.add_typer(part.app)

# The base of typer's usage errors, which it does not name itself.
_UsageError: Any = typer.BadParameter.__mro__[1]


@app.callback(invoke_without_command=True)
def help_without_command(context: typer.Context) -> None:
    """Register a model or have one trained, deploy it, call it."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
@local
def version(out: output.Output) -> None:
    """Print the release of this client."""
    out.show({"version": __version__}, f"modelyard {__version__}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0, 1 after an error, 2 after a wrong command line, 130 after Ctrl-C."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        status = app(given, standalone_mode=False)
    except _UsageError as error:
        wrong = InvalidInputError(f"{error.format_message()} (see --help)")
        output.error(wrong, as_json="--json" in given)
        sys.exit(2)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(INTERRUPTED)
    sys.exit(status if isinstance(status, int) else 0)
