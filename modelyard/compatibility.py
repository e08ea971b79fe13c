"""Can whoever calls one version call another? Decided on their signatures.

A tensor is known by its name; the order of tensors does not matter. Taken tensor by tensor, with the base's as the
measure:

| | input | output |
|---|---|---|
| the same datatype and shape | same | same |
| a dimension was fixed, now is -1 | widened: more is taken | narrowed: more may come than callers expect |
| a dimension was -1, now is fixed | narrowed: less is taken | widened: less comes than callers cope with |
| a dimension was fixed, now is fixed at another size | breaking | breaking |
| another datatype or rank | breaking | breaking |
| is gone, also by another name | breaking: callers still send it | breaking: callers still read it |
| is new | breaking: callers do not send it | widened: callers do not ask for it |

So inputs are contravariant and outputs covariant: a version is WIDENED where it takes all that the base takes and
returns only what the base may return. Of several findings the worst holds: BREAKING before NARROWED before WIDENED
before SAME.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from modelyard.catalogue import Signature, TensorSpec, Version
from modelyard.errors import PreconditionError

_MAX_SHOWN = 20


class Compatibility(enum.IntEnum):
    """What a caller of the base finds at the other version; the greater, the worse."""

    SAME = 1
    WIDENED = 2
    NARROWED = 3
    BREAKING = 4


@dataclass(frozen=True)
class FileDifference:
    """A file that two versions do not have in common; a size is -1 where there is none of that path.

    `shared_bytes` of the other's are in chunks that are the base's too.
    """

    path: str
    base_size_bytes: int
    other_size_bytes: int
    shared_bytes: int


@dataclass(frozen=True)
class Comparison:
    """How one version differs from another: what a caller finds, why, and in which files."""

    base: Version
    other: Version
    compatibility: Compatibility
    differences: tuple[str, ...] = ()
    files: tuple[FileDifference, ...] = ()


_Finding = tuple[Compatibility, str]


def compare(base: Signature, other: Signature) -> tuple[Compatibility, list[str]]:
    """Compare two signatures by the rules above.

    Returns:
        what a caller of `base` finds at `other`, and the differences, one a tensor, inputs first: what was expected,
        what came, and what that means. SAME has none.
    """
    found = [
        *_compare_tensors("input", base.inputs, other.inputs),
        *_compare_tensors("output", base.outputs, other.outputs),
    ]
    worst = max((verdict for verdict, _ in found), default=Compatibility.SAME)
    return worst, [f"{text} ({verdict.name.lower()})" for verdict, text in found]


def check_declared(declared: Signature, read: Signature) -> None:
    """Check a signature that a user declared against the one read from the artifact.

    Whoever calls by the declared signature must be able to call the artifact: it may be WIDENED. A side without tensors
    declares nothing.

    Raises:
        PreconditionError: the artifact says otherwise; the message has each difference: expected, got.
    """
    verdict, differences = compare(
        Signature(declared.inputs or read.inputs, declared.outputs or read.outputs),
        read,
    )
    if verdict > Compatibility.WIDENED:
        more = f"; and {len(differences) - _MAX_SHOWN} more" if len(differences) > _MAX_SHOWN else ""
        raise PreconditionError(
            f"signature: the artifact is not as declared: {'; '.join(differences[:_MAX_SHOWN])}{more}"
        )


def _compare_tensors(kind: str, base: tuple[TensorSpec, ...], other: tuple[TensorSpec, ...]) -> Iterator[_Finding]:
    wanted, found = ({t.name: t for t in tensors} for tensors in (base, other))
    for name, tensor in wanted.items():
        if name not in found:
            yield Compatibility.BREAKING, f"{kind} {name!r}: expected {_form(tensor)}, got none of that name"
        elif tensor != found[name]:
            yield _compare_tensor(kind, tensor, found[name])
    for name in (n for n in found if n not in wanted):
        verdict = Compatibility.BREAKING if kind == "input" else Compatibility.WIDENED
        yield verdict, f"{kind} {name!r}: expected none of that name, got {_form(found[name])}"


def _compare_tensor(kind: str, base: TensorSpec, other: TensorSpec) -> _Finding:
    text = f"{kind} {base.name!r}: expected {_form(base)}, got {_form(other)}"
    if base.datatype != other.datatype or len(base.shape) != len(other.shape):
        return Compatibility.BREAKING, text
    dims = zip(base.shape, other.shape, strict=True)
    return max(_compare_dimension(kind, was, now) for was, now in dims), text


def _compare_dimension(kind: str, was: int, now: int) -> Compatibility:
    if was == now:
        return Compatibility.SAME
    if -1 not in (was, now):
        return Compatibility.BREAKING
    better = (now == -1) == (kind == "input")
    return Compatibility.WIDENED if better else Compatibility.NARROWED


def _form(tensor: TensorSpec) -> str:
    return f"{tensor.datatype} {list(tensor.shape)}"
