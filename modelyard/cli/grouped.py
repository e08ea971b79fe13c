"""Commands with many options: dataclasses of them, each a section of the help."""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import itertools
import typing
from collections.abc import Callable
from typing import Annotated, Any

from typer.core import TyperCommand

OTHERS = "Server and output"


class Group:
    """The base of dataclasses of options: each field is annotated with its typer.Option.

    The first sentence of the class's docstring heads their section of the help.
    """


def grouped(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each field of those parameters that are a Group."""
    parameters = inspect.signature(function, eval_str=True).parameters
    groups = {name: one.annotation for name, one in parameters.items() if _is_group(one.annotation)}
    options = {name: _options(kind) for name, kind in groups.items()}

    @functools.wraps(function)
    def command(*args: Any, **given: Any) -> None:
        for name, kind in groups.items():
            given[name] = kind(**{option.name: given.pop(option.name) for option in options[name]})
        function(*args, **given)

    own = [parameter for name, parameter in parameters.items() if name not in groups]
    flat = itertools.chain(own, *options.values())
    command.__signature__ = inspect.Signature([*flat])  # type: ignore[attr-defined]
    return command


def _is_group(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Group)


def _options(kind: Any) -> list[inspect.Parameter]:
    hints, title = typing.get_type_hints(kind, include_extras=True), (kind.__doc__ or "").partition(".")[0]
    keyword = inspect.Parameter.KEYWORD_ONLY
    return [
        inspect.Parameter(field.name, keyword, default=field.default, annotation=_titled(hints[field.name], title))
        for field in dataclasses.fields(kind)
    ]


def _titled(hint: Any, title: str) -> Any:
    """The same option, of that section."""
    kind, info = typing.get_args(hint)
    own = copy.copy(info)
    own.rich_help_panel = title
    return Annotated[kind, own]


class GroupedCommand(TyperCommand):
    """Writes its help in sections."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, then a section for each group, then the options that all commands have."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            argument = parameter.param_type_name == "argument"
            title = "Arguments" if argument else getattr(parameter, "rich_help_panel", None) or OTHERS
            if record := parameter.get_help_record(ctx):
                sections.setdefault(title, []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)
