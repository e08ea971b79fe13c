"""The filter's functions: takes(...), returns(...) and fits(...).

A dimension that is asked for is a number, -1 (any size, as the caller likes) or * (whatever it is).

takes: every tensor of the asked shape is accepted. A number is met by the same number or by -1; -1 by -1 alone, for a
    model that wants 32 rows does not take any number of rows; * by anything. The tensors named are all that the model
    takes: it could not be called with fewer.
returns: the model can return tensors of the asked shape. A number is met by the same number or by -1; -1 and * by
    anything. The model may return more tensors than those.

Both: the datatype and the number of dimensions are equal, and the name, where one is given; without a shape any shape
will do. The order does not count: every tensor that is asked for gets one of the model's to itself.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence

from modelyard.catalogue import TensorSpec
from modelyard.oip.datatypes import DATATYPES
from modelyard_registry.search.conditions import Argument, Call, TensorPattern, refusal
from modelyard_registry.search.predicates import Bound, Every, Facet, Leaf, Predicate, Quantity
from modelyard_registry.search.syntax import parse_tensor
from modelyard_registry.search.written import number, size

MAX_TENSORS = 32
Meets = Callable[[TensorPattern, TensorSpec], bool]
INPUTS = Facet("inputs", lambda entry: entry.version.signature.inputs)
OUTPUTS = Facet("outputs", lambda entry: entry.version.signature.outputs)
NEEDS = {
    "cpu": Quantity("resources.cpu", lambda entry: entry.version.resources.cpu),
    "memory": Quantity("resources.memory_bytes", lambda entry: entry.version.resources.memory_bytes),
    "gpu": Quantity("resources.gpu", lambda entry: entry.version.resources.gpu),
}


def call(written: Call) -> Predicate:
    """Return the condition of a function; raise InvalidInputError naming the column."""
    function = FUNCTIONS.get(written.name)
    if function is None:
        raise refusal(written.column, f"one of the functions {', '.join(FUNCTIONS)}", written.name)
    return function(written)


def takes(written: Call) -> Leaf:
    """The model takes exactly these tensors."""
    wanted = _tensors(written)
    return Leaf(INPUTS, lambda offered: len(offered) == len(wanted) and assignable(wanted, offered, accepts))


def returns(written: Call) -> Leaf:
    """The model returns these tensors, and perhaps others."""
    wanted = _tensors(written)
    return Leaf(OUTPUTS, lambda offered: assignable(wanted, offered, yields))


def fits(written: Call) -> Every:
    """One instance needs no more than this; what is not named is not limited, a need that is not stated is 0."""
    limits: dict[str, float] = {}
    for argument in written.arguments:
        if argument.name not in NEEDS or argument.name in limits:
            got = f"{argument.name}=" if argument.name else argument.value.text
            raise refusal(argument.column, f"{', '.join(NEEDS)}, each once, as in cpu=4", got)
        limits[argument.name] = size(argument.value) if argument.name == "memory" else number(argument.value)
    return Every(tuple(Bound(NEEDS[name], operator.le, limit) for name, limit in limits.items()))


FUNCTIONS: dict[str, Callable[[Call], Predicate]] = {"takes": takes, "returns": returns, "fits": fits}


def _tensors(written: Call) -> list[TensorPattern]:
    if len(written.arguments) > MAX_TENSORS:
        raise refusal(written.column, f"at most {MAX_TENSORS} tensors", f"{len(written.arguments)}")
    return [_tensor(argument) for argument in written.arguments]


def _tensor(argument: Argument) -> TensorPattern:
    if argument.name:
        raise refusal(argument.column, 'a tensor such as "x: FP32[-1,64]"', f"{argument.name}=")
    pattern = parse_tensor(argument.value)
    if pattern.datatype not in DATATYPES:
        raise refusal(argument.value.column, f"a datatype of {', '.join(DATATYPES)}", pattern.datatype)
    return pattern


def accepts(wanted: TensorPattern, offered: TensorSpec) -> bool:
    """Whether an input takes every tensor of the wanted shape."""
    return _alike(wanted, offered) and (
        wanted.shape is None or all(w in (None, o) or o == -1 for w, o in zip(wanted.shape, offered.shape, strict=True))
    )


def yields(wanted: TensorPattern, offered: TensorSpec) -> bool:
    """Whether an output can be of the wanted shape."""
    return _alike(wanted, offered) and (
        wanted.shape is None
        or all(w in (None, -1, o) or o == -1 for w, o in zip(wanted.shape, offered.shape, strict=True))
    )


def _alike(wanted: TensorPattern, offered: TensorSpec) -> bool:
    return (
        wanted.datatype == offered.datatype
        and wanted.name in ("", offered.name)
        and (wanted.shape is None or len(wanted.shape) == len(offered.shape))
    )


def assignable(wanted: Sequence[TensorPattern], offered: Sequence[TensorSpec], meets: Meets) -> bool:
    """Whether each wanted tensor can have one of its own that meets it (augmenting paths, Kuhn 1955)."""
    owner: dict[int, int] = {}

    def place(asker: int, tried: set[int]) -> bool:
        for index, tensor in enumerate(offered):
            if index in tried or not meets(wanted[asker], tensor):
                continue
            tried.add(index)
            if index not in owner or place(owner[index], tried):
                owner[index] = asker
                return True
        return False

    return all(place(asker, set()) for asker in range(len(wanted)))
