from __future__ import annotations

import math

import pytest

from modelyard.catalogue import Resources
from modelyard.errors import InvalidInputError
from modelyard_registry.artifacts.publisher import check_resources


@pytest.mark.parametrize("resources", [Resources(), Resources(0.5, 1 << 62, 8)])
def test_good_resources(resources: Resources) -> None:
    check_resources(resources)


@pytest.mark.parametrize(
    ("resources", "name"),
    [
        (Resources(cpu=math.nan), "cpu"),
        (Resources(cpu=math.inf), "cpu"),
        (Resources(cpu=-0.1), "cpu"),
        (Resources(memory_bytes=-1), "memory_bytes"),
        (Resources(gpu=-1), "gpu"),
    ],
)
def test_bad_resources(resources: Resources, name: str) -> None:
    with pytest.raises(InvalidInputError, match=f"resources: {name}: expected a number, 0 or more"):
        check_resources(resources)
