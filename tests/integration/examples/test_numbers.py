"""The tours of `make example-regression` and `make example-tabular`, on the suite that all tests share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from examples.regression import demo as regression
from examples.tabular import demo as tabular
from tests.integration.serving.conftest import Workbench
from tests.suites import RunningSuite

Tour = Callable[[str, Path], Awaitable[list[str]]]


@pytest.mark.chaos
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("model", "tour"),
    [(regression.MODEL, regression.tour), (tabular.MODEL, tabular.tour)],
    ids=["regression", "tabular"],
)
async def test_from_data_to_served_answers(
    running_suite: RunningSuite, bench: Workbench, tmp_path: Path, model: str, tour: Tour
) -> None:
    bench.names.add(model)
    assert await tour(running_suite.address, tmp_path) == []
