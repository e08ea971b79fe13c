"""The tour of `make example-batch`, on the suite that all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.batch import demo
from tests.integration.serving.conftest import Workbench
from tests.suites import RunningSuite


async def test_a_csv_file_becomes_parquet_but_for_the_damaged_row(
    running_suite: RunningSuite, bench: Workbench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.names.add(demo.MODEL)
    assert await demo.tour(running_suite.address, tmp_path) == []
    said = capsys.readouterr().out
    for part in (
        "PARTIALLY_SUCCEEDED",
        f"given up row {demo.DAMAGED}: column 'p63': has no value",
        "answers.parquet: 359 rows of id, digit, certainty",
    ):
        assert part in said
