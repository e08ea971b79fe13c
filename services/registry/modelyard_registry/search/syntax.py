"""The filter language's syntax; docs/filters.md explains it.

A subset of AIP-160 (google.aip.dev/160): as there, OR binds tighter than AND, and conditions side by side are ANDed.
"""

from __future__ import annotations

import re
from typing import Any

from lark import Lark, Token, Transformer, UnexpectedCharacters, UnexpectedToken, v_args

from modelyard_registry.search.conditions import (
    Argument,
    Call,
    Comparison,
    Condition,
    Conjunction,
    Disjunction,
    Negation,
    TensorPattern,
    Text,
    Word,
    refusal,
)

MAX_LENGTH = 4096
_RESERVED = {"AND", "OR", "NOT"}
_QUOTES = ('"', "'")

GRAMMAR = r"""
?filter: conjunction
?conjunction: disjunction (_AND? disjunction)*
?disjunction: term (_OR term)*
?term: simple
    | (_NOT | _MINUS) simple -> negation
?simple: "(" conjunction ")"
    | (WORD | KEYED) COMPARATOR value -> comparison
    | (WORD | STRING) -> word
    | CALL argument ("," argument)* ")" -> call
argument: [PARAMETER "="] value
value: VALUE | STRING

tensor: [TENSOR_NAME ":"] DATATYPE [shape]
shape: "[" [DIMENSION ("," DIMENSION)*] "]"

_AND: "AND"
_OR: "OR"
_NOT: "NOT"
_MINUS: /-(?!\s)/
COMPARATOR: /!=|<=|>=|[=<>:]/
WORD: /[^\s()"'=<>!:,\-][^\s()"'=<>!:,]*/
VALUE: /[^\s()"'=<>!:,][^\s()"'=<>!,]*/
STRING: /"(\\.|[^"\\])*"|'(\\.|[^'\\])*'/s
KEYED.2: /(labels|metrics)\.("(\\.|[^"\\])*"|'(\\.|[^'\\])*')/s
CALL.2: /(?!(AND|OR|NOT)\()[A-Za-z_][A-Za-z0-9_]*\(/
PARAMETER.2: /[A-Za-z_][A-Za-z0-9_]*(?=\s*=)/
TENSOR_NAME.2: /[^\s\[\],:][^\[\],]*?(?=\s*:\s*[A-Z0-9]+\s*(\[|\Z))/
DATATYPE: /[A-Z]+[0-9]*/
DIMENSION: /-1|[0-9]{1,18}|\*/
%ignore /\s+/
"""

_PHRASES = {
    "WORD": "a word, a field, a function or '('",
    "VALUE": "a value",
    "COMPARATOR": "an operator (= != < <= > >= :)",
    "_AND": "AND",
    "_OR": "OR",
    "COMMA": "','",
    "RPAR": "')'",
    "TENSOR_NAME": "a tensor such as x: FP32[-1,64]",
    "COLON": "':'",
    "DATATYPE": "a datatype",
    "LSQB": "'['",
    "DIMENSION": "a size, -1 or *",
    "RSQB": "']'",
    "$END": "the end",
}
"""How an error names what could have come; a terminal that is not here never comes without one that is."""


@v_args(inline=True)
class _Conditions(Transformer[Token, Any]):
    """One method a rule of the grammar, called while parsing."""

    def conjunction(self, *operands: Condition) -> Conjunction:
        return Conjunction(operands)

    def disjunction(self, *operands: Condition) -> Disjunction:
        return Disjunction(operands)

    def negation(self, operand: Condition) -> Negation:
        return Negation(operand)

    def comparison(self, field: Token, operator: Token, value: Text) -> Comparison:
        name = Text(_field(field), _column(field))
        return Comparison(name, str(operator), _column(operator), value)

    def word(self, token: Token) -> Word:
        return Word(_text(token, "a word, a field, a function or '('"))

    def call(self, opening: Token, *arguments: Argument) -> Call:
        return Call(str(opening[:-1]), _column(opening), arguments)

    def argument(self, name: Token | None, value: Text) -> Argument:
        return Argument(str(name), _column(name), value) if name else Argument("", value.column, value)

    def value(self, token: Token) -> Text:
        return _text(token, "a value")

    def tensor(self, name: Token | None, datatype: Token, shape: tuple[int | None, ...] | None) -> TensorPattern:
        return TensorPattern(str(name or ""), str(datatype), shape)

    def shape(self, *sizes: Token | None) -> tuple[int | None, ...]:
        return tuple(None if size == "*" else int(size) for size in sizes if size is not None)


_PARSER = Lark(GRAMMAR, parser="lalr", start=["filter", "tensor"], maybe_placeholders=True, transformer=_Conditions())


def parse(text: str) -> Condition:
    """Read a filter that is not empty; raise InvalidInputError naming the column, from 1, and what was expected."""
    if len(text) > MAX_LENGTH:
        raise refusal(MAX_LENGTH + 1, f"at most {MAX_LENGTH} characters", f"{len(text)} characters")
    condition: Condition = _parse(text, "filter", 1)
    return condition


def parse_tensor(value: Text) -> TensorPattern:
    """Read `FP32[-1,64]` or `x: FP32[-1,64]`; raise InvalidInputError naming the column in the whole filter."""
    pattern: TensorPattern = _parse(value.text, "tensor", value.column)
    return pattern


def _parse(text: str, start: str, column: int) -> Any:
    parser: Any = _PARSER.parse_interactive(text, start=start)
    try:
        parser.exhaust_lexer()
        return parser.feed_eof()
    except UnexpectedToken as error:
        place = len(text) if error.token.type == "$END" else error.token.start_pos or 0
    except UnexpectedCharacters as error:
        place = error.pos_in_stream or 0
    if text[place : place + 1] in _QUOTES:
        raise refusal(column + place, "text between two quotes", text[place:])
    found = re.match(r"[\w.-]+|.", text[place:], re.DOTALL)
    raise refusal(column + place, _expected(parser.accepts()), found[0] if found else "the end")


def _expected(terminals: set[str]) -> str:
    *first, last = (phrase for name, phrase in _PHRASES.items() if name in terminals)
    return f"{', '.join(first)} or {last}" if first else last


def _column(token: Token) -> int:
    return (token.start_pos or 0) + 1


def _field(token: Token) -> str:
    head, _, key = token.partition(".")
    return f"{head}.{_unescape(key[1:-1])[0]}" if token.type == "KEYED" else str(token)


def _text(token: Token, expected: str) -> Text:
    if token in _RESERVED:
        raise refusal(_column(token), expected, str(token))
    quoted = token.type == "STRING"
    text, wild = _unescape(token[1:-1] if quoted else token)
    return Text(text, _column(token) + quoted, wild)


def _unescape(text: str) -> tuple[str, tuple[int, ...]]:
    """Take backslashes away; say where stars stood without one."""
    parts = re.findall(r"\\(.)|(.)", text, re.DOTALL)
    wild = tuple(place for place, (_, plain) in enumerate(parts) if plain == "*")
    return "".join(escaped or plain for escaped, plain in parts), wild
