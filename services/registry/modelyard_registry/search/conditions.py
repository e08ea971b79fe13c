"""A filter as a tree of conditions: what syntax.py reads and filters.py gives a meaning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from modelyard.errors import InvalidInputError

_SHOWN = 40


@dataclass(frozen=True)
class Text:
    """A value or word without quotes and escapes; `wild`: where in it stars were written as wildcards."""

    text: str
    column: int
    wild: tuple[int, ...] = ()


@dataclass(frozen=True)
class Word:
    """Text to be found in a name or description."""

    value: Text

    @property
    def column(self) -> int:
        """Where it begins, from 1."""
        return self.value.column


@dataclass(frozen=True)
class Comparison:
    """FIELD OPERATOR VALUE."""

    field: Text
    operator: str
    operator_column: int
    value: Text

    @property
    def column(self) -> int:
        """Where it begins, from 1."""
        return self.field.column


@dataclass(frozen=True)
class Argument:
    """A function's argument; the name is empty where none is written. `column`: where it begins, from 1."""

    name: str
    column: int
    value: Text


@dataclass(frozen=True)
class Call:
    """FUNCTION(ARGUMENT, ...)."""

    name: str
    column: int
    arguments: tuple[Argument, ...]


@dataclass(frozen=True)
class Negation:
    """NOT CONDITION."""

    operand: Condition

    @property
    def column(self) -> int:
        """Where its operand begins, from 1."""
        return self.operand.column


@dataclass(frozen=True)
class Conjunction:
    """All of these, two or more."""

    operands: tuple[Condition, ...]

    @property
    def column(self) -> int:
        """Where its first operand begins, from 1."""
        return self.operands[0].column


@dataclass(frozen=True)
class Disjunction:
    """Any of these, two or more."""

    operands: tuple[Condition, ...]

    @property
    def column(self) -> int:
        """Where its first operand begins, from 1."""
        return self.operands[0].column


Condition: TypeAlias = Word | Comparison | Call | Negation | Conjunction | Disjunction


@dataclass(frozen=True)
class TensorPattern:
    """A tensor that is asked for; of the shape, None stands for `*`. Without a name or a shape any will do."""

    name: str
    datatype: str
    shape: tuple[int | None, ...] | None


def refusal(column: int, expected: str, got: str) -> InvalidInputError:
    """The error for what stands at a column of a filter, from 1."""
    shown = got if len(got) <= _SHOWN else got[:_SHOWN] + "…"
    return InvalidInputError(f"filter: column {column}: expected {expected}; got {shown!r}")
