"""The tour of `make example-reviews`, on the suite that all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.reviews import demo
from tests.integration.serving.conftest import Workbench
from tests.suites import RunningSuite


async def test_reviews_are_learnt_and_asked_for_on_the_command_line(
    running_suite: RunningSuite, bench: Workbench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.names.add(demo.MODEL)
    assert await demo.tour(running_suite.address, tmp_path) == []
    said = capsys.readouterr().out
    for part in (
        "data 800 made-up reviews, which come with this example",
        "trained reviews@1, onnx: ",
        "text: BYTES [-1] -> label: BYTES [-1], score: FP32 [-1]",
        "on 160 reviews not seen before",
        '$ modelyard infer reviews --input text="a great film": pos (',
    ):
        assert part in said
