"""Values in a file: prometheus_client reads what is written, also while a sheet grows and shrinks."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.mmap_dict import MmapedDict

from modelyard.metrics.sheet import Cell, Histogram, Sheet, key_of, labels_of


def read(path: Path) -> dict[str, float]:
    """What prometheus_client finds in a file."""
    reader: Any = MmapedDict
    return {key: value for key, value, _, _ in reader.read_all_values_from_file(str(path))}


def test_prometheus_reads_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "counter_1.db"
    sheet = Sheet(path)
    assert read(path) == {}
    keys = ["k" * length for length in range(1, 20)] + ["schlüssel"]  # every way of padding, and not only ASCII
    for number, key in enumerate(keys):
        sheet.cell(key).add(number)
    assert read(path) == {key: float(number) for number, key in enumerate(keys)}


def test_the_same_key_is_the_same_value(tmp_path: Path) -> None:
    sheet = Sheet(tmp_path / "counter_1.db")
    sheet.cell("a").add(1)
    sheet.cell("a").add(2)
    assert sheet.cell("a").value == 3
    sheet.cell("a").set(7.5)
    assert read(tmp_path / "counter_1.db") == {"a": 7.5}


def test_cells_go_on_after_a_sheet_has_grown(tmp_path: Path) -> None:
    path = tmp_path / "counter_1.db"
    sheet = Sheet(path)
    cells = {f"key number {number}": sheet.cell(f"key number {number}") for number in range(5_000)}
    assert path.stat().st_size > 5_000 * 30
    for cell in cells.values():
        cell.add(1)
    assert read(path) == dict.fromkeys(cells, 1.0)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_what_is_dropped_goes_from_the_file_and_the_rest_stays(tmp_path: Path) -> None:
    path = tmp_path / "counter_1.db"
    sheet = Sheet(path)
    kept, dropped = sheet.cell("kept"), sheet.cell("dropped")
    kept.add(1)
    sheet.drop(["dropped"])
    dropped.add(5)
    kept.add(1)
    assert read(path) == {"kept": 2.0}
    assert sheet.cell("dropped").value == 0


def test_a_file_shrinks_again(tmp_path: Path) -> None:
    path = tmp_path / "counter_1.db"
    sheet = Sheet(path)
    empty_bytes = path.stat().st_size
    for number in range(10_000):
        sheet.cell(f"key number {number}")
    sheet.drop(list(sheet.keys))
    assert path.stat().st_size == empty_bytes


def test_the_disk_has_room_for_all_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "counter_1.db"
    Sheet(path)
    assert path.stat().st_blocks * 512 >= path.stat().st_size


def test_on_a_full_disk_it_is_counted_in_memory_until_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(descriptor: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "counter_1.db"
    sheet = Sheet(path)
    sheet.cell("a").add(1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        for number in range(5_000):
            sheet.cell(f"key number {number}").add(1)
        sheet.cell("a").add(1)
        assert (sheet.cell("a").value, read(path)["a"]) == (2, 1)
        assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert caplog.text.count("counted in memory only") == 1
    sheet.drop(["key number 1"])
    sheet.cell("a").add(1)
    assert read(path)["a"] == 3
    assert len(read(path)) == 5_000


def test_a_sheet_in_memory_leaves_no_file(tmp_path: Path) -> None:
    sheet = Sheet(None)
    sheet.cell("a").add(1)
    assert sheet.cell("a").value == 1
    assert not list(tmp_path.iterdir())


def test_a_value_on_a_bound_belongs_below_it() -> None:
    buckets, total = [Cell() for _ in range(3)], Cell()
    histogram = Histogram((1.0, 2.0), buckets, total)
    for value in (0.5, 1.0, 1.5, 2.0, 9.0):
        histogram.observe(value)
    assert [cell.value for cell in buckets] == [2, 2, 1]
    assert total.value == 14


def test_labels_are_found_in_a_key() -> None:
    key = key_of("f", "f_total", {"model": "m", "status": "OK"}, "what it means")
    assert labels_of(key) == {"model": "m", "status": "OK"}
