"""What one process measures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from modelyard.metrics import families
from modelyard.metrics.journal import DIRECTORY, Journal, inherited, is_alive
from modelyard.metrics.sheet import labels_of
from modelyard.names import ModelVersion
from tests.pages import owners, values

M1, M2 = ModelVersion("m", "1"), ModelVersion("m", "2")


def test_labels_tell_values_apart(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.cell(families.REQUESTS, "m", "1", "OK").add(2)
    journal.cell(families.REQUESTS, "m", "1", "NOT_FOUND").add(1)
    journal.cell(families.REQUESTS, "m", "1", "OK").add(1)
    assert values(tmp_path, families.REQUESTS) == {("m", "1", "OK"): 3, ("m", "1", "NOT_FOUND"): 1}


@pytest.mark.parametrize("labels", [(), ("m",), ("m", "1"), ("m", "1", "OK", "more")])
def test_every_label_must_be_given(labels: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="zip"):
        Journal().cell(families.REQUESTS, *labels)


def test_replacing_a_gauge_removes_what_is_gone(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.replace(families.QUEUED, {("m", "1"): 4, ("m", "2"): 5})
    journal.replace(families.QUEUED, {("m", "2"): 6})
    assert values(tmp_path, families.QUEUED) == {("m", "2"): 6}
    journal.replace(families.QUEUED, {})
    assert values(tmp_path, families.QUEUED) == {}


def test_a_dropped_version_goes_with_all_its_values(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for version in (M1, M2):
        journal.cell(families.REQUESTS, version.model, version.version, "OK").add(1)
        journal.histogram(families.REQUEST, version.model, version.version).observe(0.1)
        journal.replace(families.QUEUED, {("m", "1"): 1, ("m", "2"): 1})
    assert journal.versions == {M1, M2}
    journal.drop({M1})
    assert journal.versions == {M2}
    assert values(tmp_path, families.REQUESTS) == {("m", "2", "OK"): 1}
    assert set(values(tmp_path, families.QUEUED)) == {("m", "2")}
    journal.cell(families.REQUESTS, "m", "1", "OK").add(1)
    journal.histogram(families.REQUEST, "m", "2").observe(0.1)
    assert values(tmp_path, families.REQUESTS) == {("m", "1", "OK"): 1, ("m", "2", "OK"): 1}
    assert values(tmp_path, families.REQUEST) == {("m", "2"): 2}


def test_calls_of_nothing_deployed_are_no_version() -> None:
    journal = Journal()
    journal.cell(families.REQUESTS, "", "", "NOT_FOUND").add(1)
    assert journal.versions == set()


def test_what_another_has_counted_is_added() -> None:
    journal, other = Journal(), Journal()
    journal.cell(families.REQUESTS, "m", "1", "OK").add(1)
    other.cell(families.REQUESTS, "m", "1", "OK").add(4)
    key = next(key for key in other._sheet("counter").keys if labels_of(key)["status"] == "OK")
    journal.absorb("counter", {key: 4.0, key.replace('"1"', '"2"'): 2.0})
    assert journal.cell(families.REQUESTS, "m", "1", "OK").value == 5
    assert journal.versions == {M1, M2}


def test_an_open_journal_is_alive_and_a_closed_one_is_not(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    (lock,) = tmp_path.glob("*.lock")
    assert is_alive(lock)
    journal.close()
    assert not is_alive(lock)
    assert not is_alive(tmp_path / "nobody.lock")


def test_a_killed_process_is_not_alive_and_what_it_counted_is_there(tmp_path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from modelyard.metrics import Journal, families
journal = Journal(Path({str(tmp_path)!r}))
journal.cell(families.REQUESTS, "m", "1", "OK").add(3)
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert owners(tmp_path) == dict.fromkeys(owners(tmp_path), False)
    assert values(tmp_path, families.REQUESTS) == {("m", "1", "OK"): 3}


def test_the_directory_comes_from_the_environment(tmp_path: Path) -> None:
    environ = {DIRECTORY: str(tmp_path), "OTHER": "1"}
    assert inherited(environ) == tmp_path
    assert environ == {"OTHER": "1"}
    assert inherited(environ) is None
