"""The program of a torch.export archive, a JSON document, searched for what would run code when torch loads it.

torch evaluates shape expressions (sympy), compiles guards, resolves operators and container types by name and prints
names into generated source. So each of these must be of the form that torch.export itself writes.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from modelyard.errors import InvalidInputError

MAX_EXPRESSION_CHARS = 16 << 10

_OPERATOR = re.compile(
    r"torch\.ops\.(aten|prims)\.(?!from_file\b)(__i?(and|or|xor|lshift|rshift)__|(?!__)\w+)\.(?!__)\w+"
    r"|torch\.ops\.higher_order\.(associative_scan|cond|flex_attention|invoke_subgraph|map_impl|out_dtype|scan"
    r"|tag_activation_checkpoint|while_loop|wrap_activation_checkpoint|wrap_with_autocast|wrap_with_set_grad_enabled)"
    r"|_operator\.(abs|add|and_|eq|floordiv|ge|getitem|gt|le|lshift|lt|mod|mul|ne|neg|not_|or_|pos|pow|rshift|sub"
    r"|truediv)"
    r"|math\.(ceil|floor|trunc)"
    r"|torch\.sym_\w+"
    r"|torch\._functorch\.predispatch\.(_(add|remove)_batch_dim|_vmap_(in|de)crement_nesting|lazy_load_decompositions)"
)
_CONTAINERS = frozenset(
    {"builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict", "collections.deque"}
    | {f"torch.fx.immutable_collections.immutable_{kind}" for kind in ("list", "dict")}
)
_FUNCTION = re.compile(
    r"Symbol|Integer|Float|Rational|Add|Mul|Pow|Min|Max|Mod|Abs|And|Or|Not|Piecewise|ExprCondPair|floor|ceiling"
    r"|Eq|Ne|Lt|Le|Gt|Ge|Equality|Unequality|StrictLessThan|LessThan|StrictGreaterThan|GreaterThan"
    r"|FloorDiv|CeilDiv|CleanDiv|PythonMod|ModularIndexing|Where|LShift|RShift|PowByNatural|FloatPow|FloatTrueDiv"
    r"|IntTrueDiv|(Ceil|Floor|Round|Trunc)ToInt|TruncToFloat|RoundDecimal|ToFloat|Identity"
    r"|IsNonOverlappingAndDenseIndicator|cast_symbool_to_symint_guardless|abs|bool|float|int|max|min|round"
)
"""What shape expressions and guards call: sympy's and torch's functions, and Python's."""

_ATTRIBUTE = re.compile(r"size|stride|storage_offset|math\.(ceil|floor|sqrt|trunc)|torch\.sym_\w+")
_NODES = (
    ast.Expression,
    ast.Call,
    ast.keyword,
    ast.Name,
    ast.Load,
    ast.Constant,
    ast.Attribute,
    ast.Subscript,
    ast.BinOp,
    ast.UnaryOp,
    ast.BoolOp,
    ast.Compare,
    ast.Tuple,
    ast.operator,
    ast.unaryop,
    ast.boolop,
    ast.cmpop,
)
_WORD = re.compile(r"[\w.+-]{0,128}", re.ASCII)
_PLAIN = re.compile(r"[^\"'\\\x00-\x1f\x7f]*")


def check_program(name: str, program: Any) -> None:
    """Raise InvalidInputError, with the place, if loading the program could run anything but torch's own operators."""
    for place in _objects(program):
        for key in _CHECKS.keys() & place.keys():
            texts = place[key] if isinstance(place[key], list) else [place[key]]
            for reason in (_CHECKS[key](text) for text in texts if isinstance(text, str)):
                if reason:
                    raise InvalidInputError(f"{name}: {key}: {reason}")


def _objects(document: Any) -> Iterator[dict[str, Any]]:
    """Every JSON object of a document, however deep."""
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def _operator(value: str) -> str | None:
    if _OPERATOR.fullmatch(value):
        return None
    return f"expected an operator of torch itself, got {_shown(value)}, which needs custom code"


def _class_name(value: str) -> str:
    return f"expected tensors and numbers, got an object of {_shown(value)}, which needs custom code"


def _identifier(value: str) -> str | None:
    if not value or (value.isascii() and value.isidentifier()):
        return None
    return f"expected an identifier, got {_shown(value)}"


def _qualified_name(value: str) -> str | None:
    if _PLAIN.fullmatch(value):
        return None
    return f"expected a name without quotes and control characters, got {_shown(value)}"


def _containers(value: str) -> str | None:
    """A description of nested containers: [1, {"type", "context", "children_spec"}], itself JSON in a string."""
    try:
        document = json.loads(value)
    except (ValueError, RecursionError):
        return f"expected JSON, got {_shown(value)}"
    for place in _objects(document):
        kind = place.get("type")
        if kind is not None and kind not in _CONTAINERS:
            return f"expected tuples, lists and dicts of tensors, got {_shown(kind)}, which needs custom code"
        if not _is_plain_context(place.get("context")):
            return f"expected text and numbers as keys, got {_shown(place['context'])}"
    return None


def _is_plain_context(context: Any) -> bool:
    if context is None:
        return True
    try:
        keys = json.loads(context)
    except (ValueError, TypeError, RecursionError):
        return False
    keys = keys if isinstance(keys, list) else [keys]
    return all(_qualified_name(key) is None if isinstance(key, str) else _is_number(key) for key in keys)


def _is_number(value: Any) -> bool:
    return value is None or isinstance(value, int | float)


def _expression(value: str) -> str | None:
    if len(value) > MAX_EXPRESSION_CHARS:
        return f"expected an expression of at most {MAX_EXPRESSION_CHARS} characters, got {len(value)}"
    try:
        tree = ast.parse(value.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return f"expected an expression over shapes, got {_shown(value)}"
    if all(_is_harmless(node) for node in ast.walk(tree)):
        return None
    return f"expected an expression over shapes, got {_shown(value)}"


def _is_harmless(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int | float) or (
            isinstance(node.value, str) and _WORD.fullmatch(node.value) is not None
        )
    if isinstance(node, ast.Attribute):
        return _ATTRIBUTE.fullmatch(_dotted(node)) is not None
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Attribute) or (
            isinstance(node.func, ast.Name) and _FUNCTION.fullmatch(node.func.id) is not None
        )
    return isinstance(node, _NODES)


def _dotted(node: ast.Attribute) -> str:
    """The attribute with its module, or alone where it is one of a value: math.floor, size."""
    value = node.value
    return f"{value.id}.{node.attr}" if isinstance(value, ast.Name) else node.attr


def _shown(value: Any) -> str:
    return repr(value[:80] if isinstance(value, str) else value)[:100]


_CHECKS: dict[str, Callable[[str], str | None]] = {
    "target": _operator,
    "as_operator": _operator,
    "class_fqn": _class_name,
    "name": _identifier,
    "as_name": _identifier,
    "user_input_name": _identifier,
    "forward_arg_names": _identifier,
    "parameter_name": _qualified_name,
    "buffer_name": _qualified_name,
    "tensor_constant_name": _qualified_name,
    "fqn": _qualified_name,
    "in_spec": _containers,
    "out_spec": _containers,
    "expr_str": _expression,
    "guards_code": _expression,
}
"""What is looked at, by its key in any object of the document: text, or a list of texts. Other values stand there where
a tensor has the name of such a key."""
