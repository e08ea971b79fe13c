from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from modelyard.datasets.image_options import ImageOptions
from modelyard.datasets.source import local
from modelyard.errors import InvalidInputError
from modelyard.train.data.digest import digest
from modelyard.train.data.opening import TableOptions, open_table


@pytest.fixture
def imdb(tmp_path: Path) -> Path:
    for label in ("neg", "pos", "unsup"):
        (tmp_path / label).mkdir()
        for number in range(3):
            (tmp_path / label / f"{number}_7.txt").write_text(f"{label} {number}")
    (tmp_path / "urls_pos.txt").write_text("http")
    (tmp_path / "labeledBow.feat").write_text("9 0:9")
    return tmp_path


@pytest.mark.parametrize("memory_bytes", [1 << 20, 1])
def test_texts_as_imdb_has_them(memory_bytes: int, imdb: Path) -> None:
    table = open_table(imdb, TableOptions(folders=("neg", "pos"), memory_bytes=memory_bytes))
    assert [table[index] for index in (5, 0)] == [("pos 2", "pos"), ("neg 0", "neg")]
    assert table.labels().tolist() == [b"neg"] * 3 + [b"pos"] * 3
    assert len(open_table(imdb)) == 9


def test_a_folder_that_is_not_there(imdb: Path) -> None:
    with pytest.raises(InvalidInputError, match="expected folders of 'neg', 'pos', 'unsup'; got 'good'"):
        open_table(imdb, TableOptions(folders=("good",)))
    with pytest.raises(InvalidInputError, match=r"expected images as LABEL/NAME\.png"):
        open_table(imdb, TableOptions(kind="images"))
    with pytest.raises(InvalidInputError, match="expected a file of csv, got a directory"):
        open_table(imdb, TableOptions(kind="csv"))


def test_a_text_that_is_none_is_named(imdb: Path) -> None:
    (imdb / "pos" / "1_7.txt").write_bytes(b"\xff")
    with pytest.raises(InvalidInputError, match=r"row 4: pos/1_7\.txt: expected text in UTF-8"):
        open_table(imdb)


@pytest.mark.parametrize("memory_bytes", [1 << 20, 1])
def test_images_in_folders(memory_bytes: int, tmp_path: Path) -> None:
    for index, path in enumerate(("cat/a.png", "cat/more/b.png", "dog/a.png")):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (5, 4), (index, 10, 20)).save(tmp_path / path)
    Image.new("RGB", (9, 9)).save(tmp_path / "beside.png")
    options = TableOptions(images=ImageOptions(channels_first=True), memory_bytes=memory_bytes)
    inputs, labels = open_table(tmp_path, options).batch([2, 1])
    assert (inputs.shape, inputs.dtype, labels) == ((2, 3, 4, 5), torch.uint8, ["dog", "cat"])
    np.testing.assert_array_equal(inputs[:, 0, 0, 0], [2, 1])


def test_the_digest_is_of_the_content(imdb: Path, tmp_path: Path) -> None:
    before = digest(local(imdb))
    assert len(before) == 64
    moved = imdb.rename(tmp_path.parent / (tmp_path.name + "-moved"))
    assert digest(local(moved)) == before
    (moved / "pos" / "0_7.txt").rename(moved / "neg" / "9_7.txt")
    assert digest(local(moved)) != before
    (tmp_path.parent / "one.csv").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert digest(local(tmp_path.parent / "one.csv")) == known
