from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.datasets.opening import Opening, open_dataset
from modelyard.datasets.source import local
from modelyard.errors import InvalidInputError
from tests.unit.datasets.written import source


def test_the_kind_is_that_of_the_suffix_unless_it_is_told() -> None:
    assert open_dataset(source("a\n1\n", "X.CSV")).rows == 1
    assert open_dataset(source("a\n1\n", "rows.txt"), Opening("csv")).rows == 1
    for name, told in (("rows.txt", "got '.txt'"), ("rows", "got 'none'")):
        with pytest.raises(InvalidInputError, match=rf"a suffix of \.npy, .*{told}"):
            open_dataset(source("a\n1\n", name))
    with pytest.raises(InvalidInputError, match="expected a dataset of npy, npz, parquet, csv, jsonl, images; got 'x'"):
        open_dataset(source("", "a.csv"), Opening("x"))


def test_files_and_directories_are_not_confused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="expected a directory of images, got a file"):
        open_dataset(source("", "a.png"), Opening("images"))
    with pytest.raises(InvalidInputError, match="expected a file of csv, got a directory"):
        open_dataset(local(tmp_path), Opening("csv"))
    assert open_dataset(local(tmp_path)).rows == 0
