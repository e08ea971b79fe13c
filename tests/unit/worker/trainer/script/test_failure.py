"""Why scripts have failed, as it is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from torch.distributed.elastic.multiprocessing.errors import ErrorHandler, record

from modelyard_worker.trainer.script.failure import MOST_REASON, MOST_TRACEBACK, failure

CODE = Path("/jobs/one/code")
RAISED = 'Traceback (most recent call last):\n  File "train.py", line 3, in <module>\nValueError: odd\n'


def test_what_it_recorded_comes_before_what_it_printed(tmp_path: Path) -> None:
    errors = tmp_path / "error.json"
    errors.write_text(json.dumps({"message": {"message": "ValueError: odd", "extraInfo": {"py_callstack": RAISED}}}))
    found = failure("train.py: rank 1 of 2", 1, errors, "killed\n", 5.0, CODE)
    assert found.reason == "train.py: rank 1 of 2: exit status 1: ValueError: odd"
    assert (found.traceback, found.time_s, found.follows) == (RAISED, 5.0, False)


def test_what_torch_records_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ErrorHandler, "initialize", lambda _: None)  # the handler of faults is pytest's
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "error.json"))

    @record
    def main() -> None:
        raise ValueError("odd")

    with pytest.raises(ValueError, match="odd"):
        main()
    found = failure("train.py", 1, tmp_path / "error.json", "", 0.0, CODE)
    assert found.reason == "train.py: exit status 1: ValueError: odd"
    assert "in main" in found.traceback


@pytest.mark.parametrize("content", ["", "{", "[]", '{"message": {}}', '{"message": {"extraInfo": 1}}'])
def test_a_record_that_is_not_understood_is_none(tmp_path: Path, content: str) -> None:
    errors = tmp_path / "error.json"
    errors.write_text(content)
    assert failure("train.py", 1, errors, RAISED, 0.0, CODE).traceback == RAISED


def test_a_record_may_be_a_text(tmp_path: Path) -> None:
    (tmp_path / "error.json").write_text('{"message": "out of luck"}')
    found = failure("train.py", 3, tmp_path / "error.json", RAISED, 0.0, CODE)
    assert (found.reason, found.traceback) == ("train.py: exit status 3", "out of luck")


def test_the_last_traceback_of_what_it_printed_counts(tmp_path: Path) -> None:
    ranked = "".join(f"[rank1]: {line}\n" for line in RAISED.splitlines())
    found = failure("train.py", 1, tmp_path / "none", "warning\n" + RAISED.replace("odd", "even") + ranked, 0.0, CODE)
    assert found.traceback == RAISED
    assert found.reason.endswith("ValueError: odd")


def test_paths_are_those_in_the_scripts_directory(tmp_path: Path) -> None:
    printed = RAISED.replace('File "', f'File "{CODE}/nets/')
    found = failure("train.py", 1, tmp_path / "none", printed, 0.0, CODE)
    assert found.traceback == RAISED.replace('File "', 'File "nets/')


def test_without_a_traceback_the_last_lines_are_told(tmp_path: Path) -> None:
    found = failure("train.py", -9, tmp_path / "none", "\n".join(map(str, range(50))), 0.0, CODE)
    assert (found.reason, found.traceback) == ("train.py: killed by SIGKILL", "\n".join(map(str, range(30, 50))))


def test_what_is_told_is_bounded(tmp_path: Path) -> None:
    found = failure("train.py", 1, tmp_path / "none", RAISED.rstrip() + "x" * (2 * MOST_TRACEBACK), 0.0, CODE)
    assert (len(found.reason), len(found.traceback)) == (MOST_REASON, MOST_TRACEBACK)


def test_a_connection_that_a_peer_has_closed_is_another_ones_failure(tmp_path: Path) -> None:
    tail = RAISED + "RuntimeError: [pair.cc:553] Connection closed by peer [127.0.0.1]:5\n"
    assert failure("train.py", 1, tmp_path / "none", tail, 0.0, CODE).follows
