"""What processes of training have started, as real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from modelyard.config import PREFIX
from modelyard_worker.training import started
from modelyard_worker.training.scratch import cleared
from tests.waiting import wait_until

Start = Callable[[str], "subprocess.Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a process with a mark, in a session of its own."""
    processes: list[subprocess.Popen[bytes]] = []

    def begin(mark: str) -> subprocess.Popen[bytes]:
        command = (sys.executable, "-c", "import time; time.sleep(600)")
        processes.append(subprocess.Popen(command, env={**os.environ, started.MARK: mark}, start_new_session=True))
        return processes[-1]

    yield begin
    for process in processes:
        process.kill()
        process.wait()


def test_who_has_the_mark_is_ended(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        started.MARK, str(tmp_path)
    )  # as of a test that a process of training runs: it does not end that
    ours, others = [start(str(tmp_path)), start(str(tmp_path))], start(f"{tmp_path}-another")
    wait_until(lambda: {one.pid for one in started.marked(str(tmp_path))} == {one.pid for one in ours})
    started.end(str(tmp_path))
    assert [one.wait() for one in ours] == [-9, -9]
    assert others.poll() is None
    assert started.marked(str(tmp_path)) == []


def test_what_has_outlived_an_agent_is_ended_by_the_next_one(start: Start, tmp_path: Path) -> None:
    directory = tmp_path / "training" / "job-1-abc"
    directory.mkdir(parents=True)
    left = start(str(directory))
    wait_until(lambda: started.marked(str(directory)))
    cleared(tmp_path / "training")
    assert left.wait() == -9


def test_the_mark_is_no_setting_which_a_control_process_would_refuse() -> None:
    assert not started.MARK.startswith(PREFIX)
