from __future__ import annotations

import itertools

import pytest

from modelyard.catalogue import Signature, TensorSpec
from modelyard.compatibility import Compatibility, check_declared, compare
from modelyard.errors import PreconditionError

X = TensorSpec("x", "FP32", (-1, 64))
Y = TensorSpec("y", "FP32", (-1, 10))
BASE = Signature((X,), (Y,))


def spec(name: str, *shape: int, datatype: str = "FP32") -> TensorSpec:
    return TensorSpec(name, datatype, shape)


def of(inputs: tuple[TensorSpec, ...] = (X,), outputs: tuple[TensorSpec, ...] = (Y,)) -> Signature:
    return Signature(inputs, outputs)


def verdict(base: Signature, other: Signature) -> Compatibility:
    return compare(base, other)[0]


@pytest.mark.parametrize("signature", [Signature(), BASE, of((X, spec("mask")), (Y, spec("z", 0)))])
def test_the_same(signature: Signature) -> None:
    assert compare(signature, signature) == (Compatibility.SAME, [])


def test_order_does_not_matter() -> None:
    both = (X, spec("mask", -1)), (Y, spec("z", 3))
    assert compare(Signature(*both), Signature(*(side[::-1] for side in both))) == (Compatibility.SAME, [])


@pytest.mark.parametrize(
    ("was", "now", "as_input", "as_output"),
    [
        ((1, 64), (-1, 64), "WIDENED", "NARROWED"),
        ((-1, 64), (1, 64), "NARROWED", "WIDENED"),
        ((1, 64), (2, 64), "BREAKING", "BREAKING"),
        ((-1, 64), (-1, 32), "BREAKING", "BREAKING"),
        ((1, -1), (-1, 64), "NARROWED", "NARROWED"),  # one of each
        ((1, 64), (-1, 32), "BREAKING", "BREAKING"),
        ((64,), (1, 64), "BREAKING", "BREAKING"),
        ((-1,), (), "BREAKING", "BREAKING"),
        ((0,), (-1,), "WIDENED", "NARROWED"),
        ((-1, -1), (-1, -1), "SAME", "SAME"),
    ],
)
def test_dimensions(was: tuple[int, ...], now: tuple[int, ...], as_input: str, as_output: str) -> None:
    assert verdict(of((spec("x", *was),)), of((spec("x", *now),))).name == as_input
    assert verdict(of(outputs=(spec("y", *was),)), of(outputs=(spec("y", *now),))).name == as_output


@pytest.mark.parametrize(
    ("other", "expected", "difference"),
    [
        (
            of((spec("x", -1, 64, datatype="FP64"),)),
            "BREAKING",
            "input 'x': expected FP32 [-1, 64], got FP64 [-1, 64] (breaking)",
        ),
        (
            of(outputs=(spec("y", -1, 10, datatype="INT64"),)),
            "BREAKING",
            "output 'y': expected FP32 [-1, 10], got INT64 [-1, 10] (breaking)",
        ),
        (of(()), "BREAKING", "input 'x': expected FP32 [-1, 64], got none of that name (breaking)"),
        (of(outputs=()), "BREAKING", "output 'y': expected FP32 [-1, 10], got none of that name (breaking)"),
        (of((X, spec("mask", -1))), "BREAKING", "input 'mask': expected none of that name, got FP32 [-1] (breaking)"),
        (of(outputs=(Y, spec("z"))), "WIDENED", "output 'z': expected none of that name, got FP32 [] (widened)"),
        (
            of((spec("x", 8, 64),)),
            "NARROWED",
            "input 'x': expected FP32 [-1, 64], got FP32 [8, 64] (narrowed)",
        ),
    ],
)
def test_differences(other: Signature, expected: str, difference: str) -> None:
    assert compare(BASE, other) == (Compatibility[expected], [difference])


def test_another_name_is_one_gone_and_one_new() -> None:
    found, differences = compare(BASE, of((spec("image", -1, 64),)))
    assert found is Compatibility.BREAKING
    assert [d.partition(":")[0] for d in differences] == ["input 'x'", "input 'image'"]


def test_the_worst_of_several_holds() -> None:
    widened = spec("a", -1)
    narrowed = spec("b", 1)
    broken = spec("c", 2)
    base = of((spec("a", 1), spec("b", -1), spec("c", 1)))
    for inputs, expected in (
        ((widened, spec("b", -1), spec("c", 1)), "WIDENED"),
        ((widened, narrowed, spec("c", 1)), "NARROWED"),
        ((widened, narrowed, broken), "BREAKING"),
    ):
        found, differences = compare(base, of(inputs))
        assert found.name == expected
        assert len(differences) == sum(t not in base.inputs for t in inputs)


def test_there_and_back() -> None:
    """What widens one way narrows the other; what breaks breaks both ways, and nothing else is the same."""
    shapes = [(-1, -1), (-1, 2), (1, 2), (1, -1), (3, 2), (2,)]
    back = {"SAME": "SAME", "WIDENED": "NARROWED", "BREAKING": "BREAKING"}
    for was, now in itertools.product(shapes, repeat=2):
        one, other = (of((spec("x", *shape),)) for shape in (was, now))
        there = verdict(one, other).name
        if there in back:
            assert verdict(other, one).name == back[there], (was, now)
        assert (there == "SAME") == (was == now)


@pytest.mark.parametrize(
    "declared",
    [
        Signature(),
        BASE,
        Signature((X,)),
        Signature((), (Y,)),
        of((spec("x", 1, 64),)),  # whoever sends that may
        of(outputs=(Y,)),  # the artifact's second output is not asked for
    ],
)
def test_declared_as_it_is(declared: Signature) -> None:
    check_declared(declared, of(outputs=(Y, spec("embedding", -1, 128))))


@pytest.mark.parametrize(
    ("declared", "reason"),
    [
        (of((spec("x", -1, 32),)), "input 'x': expected FP32 [-1, 32], got FP32 [-1, 64] (breaking)"),
        (Signature((spec("image", -1, 64),)), "input 'image': expected FP32 [-1, 64], got none of that name"),
        (of(outputs=(spec("y", 1, 10),)), "output 'y': expected FP32 [1, 10], got FP32 [-1, 10] (narrowed)"),
        (of(outputs=(Y, spec("z", 1))), "output 'z': expected FP32 [1], got none of that name (breaking)"),
    ],
)
def test_declared_otherwise(declared: Signature, reason: str) -> None:
    with pytest.raises(PreconditionError) as caught:
        check_declared(declared, BASE)
    assert reason in caught.value.message
    assert caught.value.message.startswith("signature: the artifact is not as declared: ")


def test_of_many_differences_some_are_shown() -> None:
    declared = Signature(tuple(spec(f"x{n}", n) for n in range(100)))
    with pytest.raises(PreconditionError) as caught:
        check_declared(declared, BASE)
    assert caught.value.message.endswith("; and 81 more")
