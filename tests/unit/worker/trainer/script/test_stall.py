"""Whether a script hangs: by what it prints, changes and computes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from modelyard.train.elastic.watch import LOOKS
from modelyard_worker.trainer.script import stall
from modelyard_worker.trainer.script.process import ScriptProcess
from modelyard_worker.trainer.script.stall import Stall

LIMIT_S = 100.0


@dataclass
class Script:
    """What is seen of one, and the time."""

    printed_bytes: int = 0
    cpu_s: float = 0.0
    now_s: float = 0.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    made = Script()
    monkeypatch.setattr(stall, "time", made)
    return made


@pytest.fixture
def looked(script: Script, tmp_path: Path) -> Stall:
    (tmp_path / "made").mkdir()
    (tmp_path / "made/log").write_text("1")
    return Stall(LIMIT_S, cast(ScriptProcess, script), tmp_path)


def rests(script: Script, looked: Stall, looks: int) -> bool:
    """Let so many parts of the limit pass."""
    found = looked.look()
    for _ in range(looks):
        script.now_s += LIMIT_S / LOOKS
        found = looked.look()
    return found


def test_who_does_nothing_hangs_after_a_while(script: Script, looked: Stall) -> None:
    assert not rests(script, looked, LOOKS - 1)
    for _ in range(10):
        assert not looked.look()  # how often that is asked does not matter
    assert rests(script, looked, 1)
    assert rests(script, looked, 0)


def test_a_pause_of_who_looks_does_not_count(script: Script, looked: Stall) -> None:
    script.now_s += 10 * LIMIT_S
    assert not looked.look()


def test_who_computes_prints_or_writes_does_not_hang(script: Script, looked: Stall, tmp_path: Path) -> None:
    for change in ("cpu", "print", "write", "remove"):
        assert not rests(script, looked, LOOKS - 1)
        if change == "cpu":
            script.cpu_s += 0.02 * LIMIT_S / LOOKS
        elif change == "print":
            script.printed_bytes += 1
        elif change == "write":
            (tmp_path / "made/log").write_text("12")
        else:
            (tmp_path / "made/log").unlink()
        assert not rests(script, looked, LOOKS)
        rests(script, looked, 1)
        assert looked.look()
        script.printed_bytes += 1
        assert not rests(script, looked, 1)


def test_threads_that_only_wait_compute_a_little(script: Script, looked: Stall) -> None:
    for _ in range(LOOKS):
        script.cpu_s += 0.005 * LIMIT_S / LOOKS
        rests(script, looked, 1)
    assert looked.look()
