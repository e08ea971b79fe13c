"""Inputs and outputs of a module by name, and how far two sets of outputs are apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from modelyard.errors import InvalidInputError

Inputs = Mapping[str, torch.Tensor]
"""Rows that were not trained on, [rows, ...] each, by the names of forward's arguments and in their order."""

Outputs = dict[str, torch.Tensor]


def name_outputs(value: Any) -> Outputs:
    """Return the tensors that a module returns, by the names that a .pt2 file's signature has (modelyard.torch_export).

    `output` for a lone tensor, `output_0` for the first of a tuple, a dict's values by their keys.

    Raises:
        InvalidInputError: there is something else than tensors, tuples, lists and dicts with texts as keys.
    """
    return {"_".join(path if keyed else ("output", *path)): tensor for path, keyed, tensor in _leaves(value, (), False)}


def _leaves(value: Any, path: tuple[str, ...], keyed: bool) -> Iterator[tuple[tuple[str, ...], bool, torch.Tensor]]:
    """`keyed`: whether the path begins with a key."""
    if isinstance(value, torch.Tensor):
        yield path, keyed, value
    elif isinstance(value, list | tuple):
        for index, part in enumerate(value):
            yield from _leaves(part, (*path, str(index)), keyed)
    elif isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        for key, part in value.items():
            yield from _leaves(part, (*path, key), keyed or not path)
    else:
        raise InvalidInputError(f"forward: expected tensors, tuples and dicts as outputs, got {type(value).__name__}")


def first_rows(inputs: Inputs, rows: int) -> dict[str, torch.Tensor]:
    """Return the first rows of each input."""
    return {name: tensor[:rows] for name, tensor in inputs.items()}


@dataclass(frozen=True)
class Tolerance:
    """How far an element may be from the trained module's: absolute + relative * |that one|. Whole numbers: not at all.

    The default leaves room for sums in another order of some thousand FP32 terms.
    """

    absolute: float = 1e-5
    relative: float = 1e-4

    def check(self, found: Outputs, wanted: Outputs) -> float:
        """Return the greatest absolute difference of all elements.

        Raises:
            InvalidInputError: something is further away, or of another name, datatype or shape.
        """
        if list(found) != list(wanted):
            raise InvalidInputError(f"expected the outputs {', '.join(wanted)}; got {', '.join(found)}")
        return max((self._apart(name, found[name], wanted[name]) for name in wanted), default=0.0)

    def _apart(self, name: str, found: torch.Tensor, wanted: torch.Tensor) -> float:
        if (found.dtype, found.shape) != (wanted.dtype, wanted.shape):
            raise InvalidInputError(
                f"{name}: expected {wanted.dtype} {list(wanted.shape)}, got {found.dtype} {list(found.shape)}"
            )
        exact = not wanted.is_floating_point()
        allowed = torch.zeros(()) if exact else self.absolute + self.relative * wanted.double().abs()
        same = (found == wanted) | (found.isnan() & wanted.isnan())
        apart = torch.where(same, 0.0, (found.double() - wanted.double()).abs())
        near = (apart <= allowed) & wanted.isfinite()
        if not bool((same | near).all()):
            raise InvalidInputError(
                f"{name}: expected what the trained module returns, within {self.absolute:g} and {self.relative:g} of "
                f"its size; got a difference of {apart.max().item():g}"
            )
        return apart.max().item() if apart.numel() else 0.0


DEFAULT_TOLERANCE = Tolerance()
