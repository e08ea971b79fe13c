from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.train.elastic.groups import Ranks


@pytest.fixture(scope="module")
def ranks() -> Iterator[Ranks]:
    started = Ranks()
    yield started
    started.close()
