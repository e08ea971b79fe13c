from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from modelyard.errors import InvalidInputError
from modelyard.preprocessing.options import LabelOptions, Options, ScalingOptions, TargetOptions, TextOptions
from modelyard.preprocessing.preprocessing import Preprocessing
from modelyard.train.data.opening import TableOptions, open_table
from modelyard.train.data.prepared import Prepared
from modelyard.train.data.table import Table
from tests.unit.preprocessing.test_preprocessing import objects

WORDS = ["great", "good", "bad", "dull"]


def reviews(path: Path, memory_bytes: int, rows: int = 1500) -> Table:
    lines = [{"text": f"{WORDS[n % 4]} film", "label": ("pos", "pos", "neg", "neg")[n % 4]} for n in range(rows)]
    (path / "r.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return open_table(path / "r.jsonl", TableOptions(target="label", memory_bytes=memory_bytes))


OPTIONS: list[Options] = [TextOptions(length=4), LabelOptions()]


@pytest.mark.parametrize(("table_bytes", "memory_bytes"), [(1 << 30, 1 << 30), (1 << 30, 100), (100, 1 << 30)])
def test_samples_are_what_a_served_model_gets(table_bytes: int, memory_bytes: int, tmp_path: Path) -> None:
    train, _ = reviews(tmp_path, table_bytes).split((0.9, 0.1), seed=0)
    preprocessing = Preprocessing.fit(train.columns(), OPTIONS)
    prepared = Prepared(train, preprocessing, memory_bytes)
    assert len(prepared) == len(train)
    scattered = [1300, 2, 700, 2]
    ids, labels = prepared.batch(scattered)
    served = preprocessing.encode({"text": train.columns(scattered)["text"]})["ids"]
    np.testing.assert_array_equal(ids, served)
    assert (ids.dtype, labels.dtype) == (torch.int64, torch.int64)
    expected = [("neg", "pos").index(value.decode()) for value in train.columns(scattered)["label"]]
    assert labels.tolist() == expected
    torch.testing.assert_close(prepared[700], (ids[2], labels[2]))


def test_a_label_that_was_not_fitted_is_named_by_its_row(tmp_path: Path) -> None:
    table = reviews(tmp_path, 1 << 30, 8).subset([4, 6])
    fitted = Preprocessing.fit({"text": objects(["a a"]), "label": objects(["pos", "ok"])}, OPTIONS)
    with pytest.raises(InvalidInputError, match="row 6: column 'label': expected one of 'ok', 'pos'; got 'neg'"):
        Prepared(table, fitted)


def test_a_row_that_cannot_be_encoded_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", text=np.array([b"a", b"a", b"\xff"]), y=np.arange(3))
    table = open_table(tmp_path / "t.npz", TableOptions(target="y")).subset([0, 2])
    fitted = Preprocessing.fit({"text": objects(["a a"])}, [TextOptions()])
    with pytest.raises(InvalidInputError, match=r"t\.npz: row 2: input 'text': row 0: expected text in UTF-8"):
        Prepared(table, fitted)


def test_numbers_and_a_scaled_target(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = {"a": rng.normal(5, 2, 40), "b": rng.integers(0, 9, 40), "y": rng.normal(100, 9, 40)}
    np.savez(tmp_path / "t.npz", **values)  # type: ignore[arg-type]
    table = open_table(tmp_path / "t.npz", TableOptions(target="y"))
    fitted = Preprocessing.fit(table.columns(), [ScalingOptions(("a", "b")), TargetOptions("y")])
    inputs, targets = Prepared(table, fitted).batch(range(40))
    assert (inputs.dtype, targets.dtype) == (torch.float32, torch.float32)
    for tensor in (inputs[:, 0], inputs[:, 1], targets):
        assert tensor.mean().item() == pytest.approx(0, abs=1e-5)
        assert tensor.std(unbiased=False).item() == pytest.approx(1, rel=1e-4)
