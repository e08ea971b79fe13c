from __future__ import annotations

from pathlib import Path

from modelyard.datasets.opening import is_directory
from modelyard.datasets.source import local
from modelyard_scheduler.jobs.planner.pulse import Pulse, WatchedSource
from tests.unit.datasets.written import source


def test_it_beats_while_something_is_done() -> None:
    pulse = Pulse()
    assert [pulse.beats(), pulse.beats()] == [True, False]
    pulse.move()
    pulse.move()
    assert [pulse.beats(), pulse.beats()] == [True, False]


def test_who_reads_moves_it(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("0123")
    pulse = Pulse()
    pulse.beats()
    file = pulse.watched(source("0123", "x"))
    assert isinstance(file, WatchedSource)
    assert (file.name, file.size_bytes, pulse.beats()) == ("x", 4, False)
    assert (file.read(1, 2), pulse.beats()) == (b"12", True)
    directory = pulse.watched(local(tmp_path))
    assert is_directory(directory)
    assert (directory.name, directory.paths()) == (tmp_path.name, ["x"])
    assert (directory.open("x").read(1, 2), pulse.beats()) == (b"12", True)
