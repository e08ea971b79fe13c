from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from modelyard.datasets.columns import Array
from modelyard.errors import InvalidInputError, NotFoundError
from modelyard.train.data.opening import TableOptions, open_table
from modelyard.train.data.rows import BlockRows, MemoryRows
from modelyard.train.data.table import Table
from tests.unit.train.data.written import ROWS, columns, write

KINDS = ["npz", "parquet", "csv", "jsonl"]
LITTLE = 3000
"""Bytes, fewer than the table has."""


def opened(path: Path, memory_bytes: int, target: str = "y", classes: int = 3) -> Table:
    return open_table(path, TableOptions(target=target, classes=classes, memory_bytes=memory_bytes))


@pytest.mark.parametrize("memory_bytes", [1 << 20, LITTLE])
@pytest.mark.parametrize("kind", KINDS)
def test_scattered_rows_of_every_kind(kind: str, memory_bytes: int, tmp_path: Path) -> None:
    table = opened(write(tmp_path, kind), memory_bytes)
    assert isinstance(table.rows, MemoryRows if memory_bytes > LITTLE else BlockRows)
    assert len(table) == ROWS
    expected = columns()
    scattered = np.random.default_rng(1).integers(0, ROWS, 64)
    inputs, targets = table.batch(scattered)
    assert (inputs.dtype, targets.dtype) == (torch.float32, torch.int64)
    np.testing.assert_allclose(inputs, np.stack([expected["a"], expected["b"]], 1)[scattered], rtol=1e-6)
    np.testing.assert_array_equal(targets, expected["y"][scattered])
    one, target = table[-1]
    np.testing.assert_allclose(one, [expected["a"][-1], expected["b"][-1]], rtol=1e-6)
    assert target.item() == expected["y"][-1]


def test_what_is_held_is_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    table = opened(write(tmp_path, "parquet"), LITTLE + 500)
    rows = table.rows
    assert isinstance(rows, BlockRows)
    read: list[int] = []
    plain = rows._dataset.read

    def counted(begin: int, end: int, names: Sequence[str] | None = None) -> dict[str, Array]:
        read.append(begin)
        return plain(begin, end, names)

    monkeypatch.setattr(rows._dataset, "read", counted)
    for index in (0, 1, 69, 70, 0, 499, 0, 139):
        table[index]
        assert rows._held_bytes <= LITTLE + 500
        assert rows._held_bytes == sum(v.nbytes for block in rows._held.values() for v in block.values())
    assert read == [0, 70, 490, 70]


def test_it_is_a_dataset_of_torchs_loaders(tmp_path: Path) -> None:
    table = opened(write(tmp_path, "csv"), 1 << 20)
    inputs, targets = next(iter(DataLoader(table, batch_size=16)))  # type: ignore[arg-type]
    torch.testing.assert_close((inputs, targets), table.batch(range(16)))
    loaded: Any = DataLoader(table, batch_size=64)  # type: ignore[arg-type]
    assert [len(y) for _, y in loaded] == [64] * 7 + [52]


def test_npy_of_images(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 4, 4)).astype(np.uint8)
    np.savez(tmp_path / "digits.npz", image=pixels, y=np.arange(9) % 2)
    inputs, _ = open_table(tmp_path / "digits.npz", TableOptions(target="y")).batch([8, 0])
    assert inputs.dtype == torch.uint8
    np.testing.assert_array_equal(inputs, pixels[[8, 0]])


def test_several_kinds_of_features_are_by_name(tmp_path: Path) -> None:
    lines = [{"text": f"t{n}", "v": [n, n + 0.5], "age": n, "y": n / 2} for n in range(5)]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, lines)))
    table = open_table(tmp_path / "t.jsonl", TableOptions(target="y"))
    sample, target = table[3]
    assert sorted(sample) == ["text", "v", "x"]
    assert sample["text"] == "t3"
    np.testing.assert_allclose(sample["v"], [3, 3.5])
    np.testing.assert_allclose(sample["x"], [3])
    assert (target.dtype, target.item()) == (torch.float32, 1.5)


def test_without_a_target(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.ones((3, 2)))
    table = open_table(tmp_path / "v.npy")
    assert table.batch([0, 2])[1] is None
    assert table[1].tolist() == [1, 1]
    with pytest.raises(InvalidInputError, match="expected a target, there is none"):
        table.labels()
    with pytest.raises(IndexError, match="within 3, got 3"):
        table[3]


@pytest.mark.parametrize("kind", KINDS)
def test_a_column_that_is_missing_and_those_there_are(kind: str, tmp_path: Path) -> None:
    path = write(tmp_path, kind)
    with pytest.raises(InvalidInputError, match=rf"table\.{kind}: expected a column of 'a', 'b', 'y'; got 'label'"):
        open_table(path, TableOptions(target="label"))
    with pytest.raises(InvalidInputError, match="expected a column of 'a', 'b', 'y'; got 'c'"):
        open_table(path, TableOptions(features=("a", "c"), target="y"))


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_out_of_range_is_named_by_its_row(label: int, tmp_path: Path) -> None:
    labels = np.zeros(20, np.int64)
    labels[13] = label
    np.savez(tmp_path / "t.npz", x=np.ones((20, 2)), y=labels)
    table = opened(tmp_path / "t.npz", 1 << 20)
    reason = rf"row 13: column 'y': expected a label of 0 \.\.\. 2, got {label}"
    assert len(table.batch(range(13))[1]) == 13
    with pytest.raises(InvalidInputError, match=reason):
        table.batch([0, 13])
    with pytest.raises(InvalidInputError, match=reason):
        table.subset([13, 2]).labels()


def test_labels_that_are_no_whole_numbers(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", x=np.ones((2, 2)), y=np.ones(2))
    with pytest.raises(InvalidInputError, match="column 'y': expected whole numbers as labels, got float64"):
        opened(tmp_path / "t.npz", 1 << 20)[0]


def test_a_ragged_row_is_named(tmp_path: Path) -> None:
    rows = [{"v": [1.0, 2.0], "y": 0}] * 4 + [{"v": [1.0], "y": 0}]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(InvalidInputError, match=r"row 4: column 'v': expected \[2\] values, got a list of 1"):
        opened(tmp_path / "t.jsonl", 1 << 20)


def test_nothing_to_train_on(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", y=np.ones(2))
    with pytest.raises(InvalidInputError, match="expected at least one column beside the target 'y'"):
        opened(tmp_path / "t.npz", 1 << 20)
    np.savez(tmp_path / "t.npz", x=np.ones((0, 2)), y=np.ones(0))
    with pytest.raises(InvalidInputError, match="expected at least one row"):
        opened(tmp_path / "t.npz", 1 << 20)
    np.savez(tmp_path / "t.npz", x=np.ones((2, 2)), z=np.ones(2))
    with pytest.raises(InvalidInputError, match="expected no array 'x' beside single numbers"):
        open_table(tmp_path / "t.npz")
    with pytest.raises(NotFoundError):
        open_table(tmp_path / "absent.csv")
    with pytest.raises(InvalidInputError, match=r"expected a kind of .* got 'xls'"):
        open_table(tmp_path / "t.npz", TableOptions(kind="xls"))


def test_a_split_of_a_table_shares_its_rows(tmp_path: Path) -> None:
    table = opened(write(tmp_path, "parquet"), 1 << 20)
    train, validation = table.split((0.8, 0.2), seed=4, stratified=True)
    assert (len(train), len(validation)) == (400, 100)
    assert sorted([*train.numbers.tolist(), *validation.numbers.tolist()]) == list(range(ROWS))
    np.testing.assert_array_equal(validation.batch(range(100))[1], columns()["y"][validation.numbers])
    inner, _ = train.split((0.5, 0.5), seed=4)
    assert set(inner.numbers.tolist()) < set(train.numbers.tolist())
