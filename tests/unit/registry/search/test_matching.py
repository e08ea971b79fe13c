from __future__ import annotations

import itertools
import random

import pytest

from modelyard.catalogue import Model, Resources, Signature, TensorSpec, Version
from modelyard_registry.search.conditions import TensorPattern
from modelyard_registry.search.entry import Entry
from modelyard_registry.search.filters import compile_filter
from modelyard_registry.search.matching import accepts, assignable, yields

IMAGE = TensorSpec("image", "FP32", (-1, 3, 224, 224))
BATCH_OF_32 = TensorSpec("image", "FP32", (32, 3, 224, 224))
IDS = TensorSpec("ids", "INT64", (-1, -1))
MASK = TensorSpec("mask", "INT64", (-1, 128))
SCALAR = TensorSpec("scale", "FP32", ())


def matches(text: str, inputs: tuple[TensorSpec, ...] = (), outputs: tuple[TensorSpec, ...] = ()) -> bool:
    version = Version("m", "1", "onnx", Signature(inputs, outputs), Resources(), "", 0)
    return compile_filter(text).matches(Entry.join(Model("m"), version, ()))


@pytest.mark.parametrize(
    ("asked", "tensor", "taken", "returned"),
    [
        ("FP32[-1,3,224,224]", IMAGE, True, True),
        ("FP32[8,3,224,224]", IMAGE, True, True),
        ("FP32[*,3,224,224]", IMAGE, True, True),
        ("FP32[*,*,*,*]", IMAGE, True, True),
        ("FP32", IMAGE, True, True),
        ("image: FP32[-1,3,224,224]", IMAGE, True, True),
        ("image: FP32 [-1, 3, 224, 224]", IMAGE, True, True),
        ("image:FP32", IMAGE, True, True),
        ("x: FP32[-1,3,224,224]", IMAGE, False, False),
        ("FP16[-1,3,224,224]", IMAGE, False, False),
        ("FP32[-1,1,224,224]", IMAGE, False, False),
        ("FP32[-1,-1,224,224]", IMAGE, False, True),
        ("FP32[-1,3,224]", IMAGE, False, False),
        ("FP32[-1,3,224,224,1]", IMAGE, False, False),
        ("FP32[]", IMAGE, False, False),
        ("FP32[32,3,224,224]", BATCH_OF_32, True, True),
        ("FP32[8,3,224,224]", BATCH_OF_32, False, False),
        ("FP32[-1,3,224,224]", BATCH_OF_32, False, True),
        ("FP32[*,3,224,224]", BATCH_OF_32, True, True),
        ("INT64[1,2]", IDS, True, True),
        ("INT64[-1,-1]", IDS, True, True),
        ("FP32[]", SCALAR, True, True),
        ("FP32[1]", SCALAR, False, False),
        ("FP32[0]", TensorSpec("x", "FP32", (0,)), True, True),
        ("serving:x:0: FP32[1]", TensorSpec("serving:x:0", "FP32", (1,)), True, True),
        ("/a/b output: FP32[1]", TensorSpec("/a/b output", "FP32", (1,)), True, True),
    ],
)
def test_one_tensor(asked: str, tensor: TensorSpec, taken: bool, returned: bool) -> None:
    assert matches(f'takes("{asked}")', inputs=(tensor,)) == taken
    assert matches(f'returns("{asked}")', outputs=(tensor,)) == returned
    assert not matches(f'takes("{asked}")', outputs=(tensor,))
    assert not matches(f'returns("{asked}")', inputs=(tensor,))


def test_what_a_version_shows_of_a_tensor_can_be_asked_for() -> None:
    for tensor in (IMAGE, BATCH_OF_32, IDS, SCALAR):
        assert matches(f'takes("{tensor}")', inputs=(tensor,))


@pytest.mark.parametrize(
    ("asked", "taken", "returned"),
    [
        ('"INT64", "INT64"', True, True),
        ('"INT64[-1,128]", "INT64[-1,-1]"', True, True),
        ('"INT64[1,128]", "INT64[1,128]"', True, True),
        ('"INT64[1,64]", "INT64[1,64]"', False, False),
        ('"INT64[1,64]", "INT64[1,128]"', True, True),
        ('"INT64[1,128]", "INT64[1,64]"', True, True),
        ('"mask: INT64", "ids: INT64"', True, True),
        ('"ids: INT64", "ids: INT64"', False, False),
        ('"ids: INT64[1,128]", "INT64[1,128]"', True, True),
        ('"INT64[1,128]", "ids: INT64[1,128]"', True, True),
        ('"INT64"', False, True),
        ('"INT64", "INT64", "INT64"', False, False),
    ],
)
def test_several_tensors_in_any_order(asked: str, taken: bool, returned: bool) -> None:
    for tensors in ((IDS, MASK), (MASK, IDS)):
        assert matches(f"takes({asked})", inputs=tensors) == taken
        assert matches(f"returns({asked})", outputs=tensors) == returned


def test_takes_says_whether_every_tensor_of_the_shape_is_accepted() -> None:
    def accepted(sizes: tuple[int, ...], offered: TensorSpec) -> bool:
        return all(o in (-1, size) for size, o in zip(sizes, offered.shape, strict=True))

    possible = (1, 2, 3)
    for offered in itertools.product((-1, 1, 2), repeat=2):
        spec = TensorSpec("x", "FP32", offered)
        for shape in itertools.product((-1, 1, 2), repeat=2):
            tensors = list(itertools.product(*(possible if size == -1 else (size,) for size in shape)))
            pattern = TensorPattern("", "FP32", shape)
            assert accepts(pattern, spec) == all(accepted(sizes, spec) for sizes in tensors), (shape, offered)
            assert yields(pattern, spec) == any(accepted(sizes, spec) for sizes in tensors), (shape, offered)


def test_assignment_is_found_if_there_is_one() -> None:
    rng = random.Random(20261121)
    outcomes = set()
    for _ in range(300):
        wanted = [TensorPattern("", "FP32", (rng.randrange(4),)) for _ in range(rng.randrange(1, 5))]
        offered = [TensorSpec("x", "FP32", (rng.choice((-1, 0, 1, 2)),)) for _ in range(rng.randrange(5))]
        exists = any(
            all(accepts(pattern, spec) for pattern, spec in zip(wanted, chosen, strict=True))
            for chosen in itertools.permutations(offered, len(wanted))
        )
        assert assignable(wanted, offered, accepts) == exists
        outcomes.add(exists)
    assert outcomes == {True, False}
