"""States taken apart: tensors, which are saved in shards, and the rest, which is JSON. Nothing of a state is pickled.

A tensor's key is its path in the state, a JSON Pointer (RFC 6901) without the first "/". In the JSON, null, booleans,
numbers, texts and lists stand for themselves; everything else is an object with one field: `tensor`, `float` (one that
is not finite), `tuple`, or `items` of a dict, in their order, as keys may be numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from modelyard.errors import DataLossError, InvalidInputError

State = Mapping[str, Any]
"""Nested dicts, lists and tuples of tensors (DTensors too), numbers, texts and None."""

Tensors = dict[str, torch.Tensor]


def take_apart(state: State) -> tuple[Tensors, Any]:
    """Return the tensors of a state by key, not copied, and the JSON of the rest.

    Raises:
        InvalidInputError: something else is in it; the message says where.
    """
    tensors: Tensors = {}
    return tensors, _apart(state, "", tensors)


def _apart(value: Any, path: str, tensors: Tensors) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, torch.Tensor):
        tensors[path] = value
        return {"tensor": path}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {"items": [[_key(key, path), _apart(part, _join(path, key), tensors)] for key, part in value.items()]}
    if isinstance(value, list | tuple):
        parts = [_apart(part, _join(path, index), tensors) for index, part in enumerate(value)]
        return parts if isinstance(value, list) else {"tuple": parts}
    raise InvalidInputError(f"state: {path}: expected tensors, numbers, texts or None, got {type(value).__name__}")


def _key(key: Any, path: str) -> str | int:
    if isinstance(key, bool) or not isinstance(key, str | int):
        raise InvalidInputError(f"state: {path}: expected texts or whole numbers as keys, got {type(key).__name__}")
    return key


def _join(path: str, step: str | int) -> str:
    # A number has no mark of its own there: dicts with both 1 and "1" as keys are nobody's.
    name = str(step).replace("~", "~0").replace("/", "~1")
    return f"{path}/{name}" if path else name


def merged(structures: Sequence[Any]) -> Any:
    """Return the JSON of a state of which each of several has a part: dicts have what any of them has there.

    What else is of several is the same on all.
    """
    first = structures[0]
    if not isinstance(first, dict) or "items" not in first:
        return first
    found: dict[str | int, list[Any]] = {}
    for structure in structures:
        for key, part in structure["items"]:
            found.setdefault(key, []).append(part)
    return {"items": [[key, merged(parts)] for key, parts in found.items()]}


def put_together(structure: Any, tensors: Mapping[str, torch.Tensor | None]) -> Any:
    """Return the state that `take_apart` took apart, dicts as dict; None stands for a tensor that is not wanted.

    Raises:
        DataLossError: it is not of that form, or a tensor is missing.
    """
    try:
        return _together(structure, tensors)
    except (KeyError, TypeError, ValueError) as error:
        raise DataLossError(f"state: expected what a checkpoint has of a state: {str(error)[:200]}") from error


def _together(value: Any, tensors: Mapping[str, torch.Tensor | None]) -> Any:
    if isinstance(value, list):
        return [_together(part, tensors) for part in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "items":
        return {key: _together(part, tensors) for key, part in content}
    if kind == "tuple":
        return tuple(_together(part, tensors) for part in content)
    if kind == "float":
        return float(content)
    raise ValueError(f"expected a tensor, items, a tuple or a float, got {kind[:40]!r}")
