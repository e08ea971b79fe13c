"""What all commands have in common: --json, the way to a server, how options are read, and how errors end them."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Concatenate, ParamSpec

import typer

from modelyard import aio
from modelyard.cli.output import Output, error
from modelyard.client import Client
from modelyard.config import parse_bytes
from modelyard.errors import InvalidInputError, ModelyardError

P = ParamSpec("P")
CONNECT_S = 3.0
INTERRUPTED = 130

Address = Annotated[str, typer.Option(envvar="MODELYARD_ADDRESS", help="host:port of the front door", show_envvar=True)]
Tenant = Annotated[str, typer.Option(help="on whose behalf the call is made")]
Json = Annotated[bool, typer.Option("--json", help="print JSON")]

Name = Annotated[str, typer.Argument(metavar="NAME", help="a model")]
Reference = Annotated[
    str, typer.Argument(metavar="NAME[@VERSION]", help="a model, or a version of it by name or alias")
]
Labels = Annotated[list[str] | None, typer.Option("--label", metavar="KEY=VALUE", help="may be given several times")]
Metrics = Annotated[list[str] | None, typer.Option("--metric", metavar="KEY=NUMBER", help="may be given several times")]


@dataclass(frozen=True)
class Session:
    """One command: where its server is, and where its output goes."""

    address: str
    tenant: str
    output: Output

    @contextlib.contextmanager
    def client(self) -> Iterator[Client]:
        """A client that has a connection; raises UnavailableError if there is none within CONNECT_S."""
        with Client(self.address, tenant=self.tenant) as client:
            client.wait_connected(CONNECT_S)
            yield client


def remote(function: Callable[Concatenate[Session, P], None]) -> Callable[..., None]:
    """Make a command of a function that takes a session: give it --address, --tenant and --json."""

    def command(*args: Any, address: str, tenant: str, as_json: bool, **options: Any) -> None:
        with ends_with_status(as_json=as_json):
            function(Session(address, tenant, Output(as_json)), *args, **options)

    added = (
        _option("address", Address, aio.DEFAULT_ADDRESS),
        _option("tenant", Tenant, "default"),
        _option("as_json", Json, False),
    )
    return _with_options(command, function, *added)


def local(function: Callable[Concatenate[Output, P], None]) -> Callable[..., None]:
    """Make a command of a function that takes an output and asks no server: give it --json."""

    def command(*args: Any, as_json: bool, **options: Any) -> None:
        with ends_with_status(as_json=as_json):
            function(Output(as_json), *args, **options)

    return _with_options(command, function, _option("as_json", Json, False))


def _option(name: str, kind: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)


def _with_options(
    command: Callable[..., None], function: Callable[..., None], *added: inspect.Parameter
) -> Callable[..., None]:
    """Let `command` look like `function` without its first parameter and with those added: what typer reads."""
    functools.update_wrapper(command, function)
    signature = inspect.signature(function, eval_str=True)
    own = list(signature.parameters.values())[1:]
    command.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *added)}
    return command


@contextlib.contextmanager
def ends_with_status(*, as_json: bool) -> Iterator[None]:
    """End the command with one line on standard error and a status: 1 for an error, 130 for Ctrl-C."""
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except ModelyardError as failure:
        error(failure, as_json=as_json)
        raise typer.Exit(1) from None
    except BrokenPipeError:
        raise
    except OSError as failure:
        error(failure, as_json=as_json)
        raise typer.Exit(1) from None


def parse_pairs(option: str, texts: Sequence[str] | None) -> dict[str, str]:
    """Read options `key=value`; raise InvalidInputError saying what was expected."""
    parsed: dict[str, str] = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise InvalidInputError(f"{option}: expected key=value, got {text!r}")
        parsed[key] = value
    return parsed


def parse_numbers(option: str, texts: Sequence[str] | None) -> dict[str, float]:
    """Read options `key=number`; raise InvalidInputError saying what was expected."""
    parsed: dict[str, float] = {}
    for key, value in parse_pairs(option, texts).items():
        try:
            parsed[key] = float(value)
        except ValueError:
            raise InvalidInputError(f"{option}: expected a number for {key!r}, got {value!r}") from None
    return parsed


def parse_size(option: str, text: str) -> int:
    """Read a size as 2GiB, 0 where it is empty; raise InvalidInputError saying what was expected."""
    try:
        return parse_bytes(text) if text else 0
    except ValueError as failure:
        raise InvalidInputError(f"{option}: {failure}") from None
