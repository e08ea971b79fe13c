"""The runners' logs: bounded while somebody writes to them, removed when nobody has for long."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path
from typing import Any

import pytest

from modelyard_worker import logs as module
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


def test_one_who_prints_faster_than_is_copied_does_not_keep_it_busy(
    logs: RunnerLogs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, opened = logs.open("m@1"), Path.open

    class Fast(io.FileIO):
        def write(self, data: Any) -> int:
            if output.tell() < 1 << 20:
                output.write(b"y" * 2 * len(data))
                output.flush()
            return super().write(data)

    def fast(path: Path, mode: str) -> Any:
        return Fast(path, mode) if path.suffix == ".new" else opened(path, mode)

    output.write(b"x" * 2000)
    output.flush()
    monkeypatch.setattr(Path, "open", fast)
    monkeypatch.setattr(module, "BLOCK_BYTES", 100)
    assert logs.bound({"m@1"})
    monkeypatch.undo()
    assert [p.stat().st_size for p in sorted((tmp_path / "logs").iterdir())] == [0, 1000]
    assert (tmp_path / "logs" / "m@1.log.1").read_bytes() == b"x" * 1000
    assert not logs.bound({"m@1"})


def test_on_a_full_disk_logs_are_emptied_all_the_same(
    logs: RunnerLogs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    opened = Path.open

    def full(path: Path, mode: str) -> Any:
        if path.suffix == ".new":
            opened(path, mode).close()
            raise OSError(errno.ENOSPC, "No space left on device")
        return opened(path, mode)

    for name in ("m@1", "n@1"):
        with logs.open(name) as output:
            output.write(b"x" * 2000)
    monkeypatch.setattr(Path, "open", full)
    logs.bound({"m@1", "n@1"})
    assert {p.name: p.stat().st_size for p in (tmp_path / "logs").iterdir()} == {"m@1.log": 0, "n@1.log": 0}
    assert caplog.text.count("a runner's log could not be bounded") == 2


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
