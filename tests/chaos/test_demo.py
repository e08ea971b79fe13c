"""`make demo`: a worker is killed in mid-training, and one while requests flow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from examples.digits import demo
from examples.suite import Suite
from tests.suites import RunningSuite


@pytest.mark.chaos
@pytest.mark.timeout(900)
async def test_digits_are_trained_and_served_as_if_nothing_had_happened(
    suite: Callable[..., RunningSuite], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running = suite(workers=2)
    assert await demo.tour(Suite(running.address, running.directory, tmp_path)) == []
    said = capsys.readouterr().out
    for part in (
        " with SIGKILL after step ",
        "left alone one process comes to",
        "360 of 360 answers equal",
        "0 failed",
    ):
        assert part in said
