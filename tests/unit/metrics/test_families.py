"""What is measured is documented, in one table, and named as Prometheus wants it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from modelyard.metrics.families import FAMILIES, Family, families_of

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "metrics.md"
SERVICES = ("scheduler", "worker", "registry")
by_name = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


def row(family: Family) -> str:
    labels = ", ".join(f"`{label}`" for label in family.labels) or "–"
    return f"| `{family.name}` | {family.kind} | {labels} | {', '.join(family.services)} | {family.text} |"


def test_the_table_has_every_family_and_no_other() -> None:
    rows = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| `modelyard_")]
    assert rows == [row(family) for family in FAMILIES]


def test_names_are_given_once() -> None:
    assert len({family.name for family in FAMILIES}) == len({family.base for family in FAMILIES}) == len(FAMILIES)


@by_name
def test_names_have_the_prefix_and_base_units(family: Family) -> None:
    assert re.fullmatch(r"modelyard_[a-z_]+", family.name)
    assert family.name.endswith("_total") == (family.kind == "counter")
    assert not re.search(r"_(ms|us|ns|mib|gib|kb|percent)(_|$)", family.name)


@by_name
def test_buckets_are_a_histograms_and_ascend(family: Family) -> None:
    assert bool(family.bounds) == (family.kind == "histogram")
    assert list(family.bounds) == sorted(set(family.bounds))


@by_name
def test_every_family_is_somebodys(family: Family) -> None:
    assert set(family.services) <= set(SERVICES)
    assert any(family in families_of(service) for service in SERVICES)
