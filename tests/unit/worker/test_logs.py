"""The runners' logs: bounded while somebody writes to them, removed when nobody has for long."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelyard_worker.logs import RunnerLogs


@pytest.fixture
def logs(tmp_path: Path) -> RunnerLogs:
    return RunnerLogs(tmp_path / "logs", limit_bytes=1000, keep_s=60)


def names(directory: Path) -> list[str]:
    return sorted(p.name for p in (directory / "logs").iterdir())


def test_what_a_runner_prints_is_its_tail(logs: RunnerLogs) -> None:
    assert logs.tail(["m@1"], 100) is None
    with logs.open("m@1") as output:
        output.write(b"one two three")
    assert logs.tail(["m@1"], 100) == b"one two three"
    assert logs.tail(["m@1"], 5) == b"three"
    assert logs.tail(["absent", "m@1"], 100) == b"one two three"


def test_a_runner_that_prints_without_end_is_bounded_and_never_disturbed(logs: RunnerLogs, tmp_path: Path) -> None:
    """Its file stays the one that it has open; what it prints goes on at the beginning of that."""
    with logs.open("m@1.0") as output:
        for number in range(300):
            output.write(b"line %06d\n" % number)
            output.flush()
            logs.bound({"m@1.0"})
        assert names(tmp_path) == ["m@1.0.log", "m@1.0.log.1"]
        assert sum(p.stat().st_size for p in (tmp_path / "logs").iterdir()) <= 2012
    assert logs.tail(["m@1.0"], 600) == b"".join(b"line %06d\n" % n for n in range(250, 300))
    assert len(logs.tail(["m@1.0"], 1 << 20) or b"") > 1000


def test_one_great_outpour_is_cut_to_its_end(logs: RunnerLogs, tmp_path: Path) -> None:
    with logs.open("m@1") as output:
        output.write(b"x" * 100_000 + b"the end")
    logs.bound(set())
    assert (tmp_path / "logs" / "m@1.log").read_bytes() == b""
    assert (tmp_path / "logs" / "m@1.log.1").read_bytes() == b"x" * 993 + b"the end"


def test_logs_of_what_is_long_gone_are_removed(logs: RunnerLogs, tmp_path: Path) -> None:
    for name in ("used", "gone", "fresh"):
        with logs.open(name) as output:
            output.write(b"x" * 1001)
    logs.bound(set())
    for path in (tmp_path / "logs").iterdir():
        if path.name != "fresh.log":
            os.utime(path, (0, 0))
    logs.bound({"used"})
    assert names(tmp_path) == ["fresh.log", "fresh.log.1", "used.log", "used.log.1"]


def test_without_a_directory_there_is_nothing_to_bound(logs: RunnerLogs) -> None:
    logs.bound(set())
