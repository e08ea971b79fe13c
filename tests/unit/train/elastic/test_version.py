"""One rank makes a version, and all know it: ranks that are threads, over real connections."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from modelyard.names import MAX_LENGTH
from modelyard.train.elastic.version import made_by_first
from tests.unit.train.elastic.groups import Ranks


@pytest.fixture
def ranks() -> Iterator[Ranks]:
    made = Ranks()
    yield made
    made.close()


@pytest.mark.parametrize("name", ["", "7", "v" * MAX_LENGTH])
def test_what_the_first_has_made_all_know(ranks: Ranks, name: str) -> None:
    groups, made = ranks.groups(3), list[int]()

    def make() -> str:
        made.append(1)
        return name

    assert ranks.all(groups, lambda group: made_by_first(group, make)) == [name] * 3
    assert made == [1]
    for group in groups:
        group.drop()
    assert all(group.gone(30) for group in groups)
