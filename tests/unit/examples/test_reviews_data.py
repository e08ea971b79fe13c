"""Where the reviews of examples/reviews come from."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

from examples.reviews import data, made_up


def read(path: Path) -> list[tuple[str, str]]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [(row["text"], row["label"]) for row in rows]


def texts(directory: Path, label: str, count: int) -> None:
    (directory / label).mkdir(parents=True)
    for number in range(count):
        (directory / label / f"{number}_7.txt").write_text(f"{label} {directory.name} {number}, caf\u00e9")


def test_made_up_reviews_are_different_ones_half_of_each_label() -> None:
    found = made_up.reviews(300)
    assert found == made_up.reviews(300)
    assert found != made_up.reviews(300, seed=1)
    assert len(dict(found)) == 300
    assert Counter(label for _, label in found) == {"pos": 150, "neg": 150}


def test_held_out_reviews_are_not_trained_on(tmp_path: Path) -> None:
    written = data.write(tmp_path)
    train, held_out = dict(read(written.train)), dict(read(written.held_out))
    assert (len(train), len(held_out)) == (640, 160)
    assert not train.keys() & held_out.keys()
    assert "made-up" in written.source


def test_a_csv_file_is_split(tmp_path: Path) -> None:
    rows = [(f"a film, the {number}th", ("pos", "neg")[number % 2]) for number in range(20)]
    with (tmp_path / "own.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("label", "text"), *((label, text) for text, label in rows)])
    written = data.write(tmp_path, tmp_path / "own.csv")
    train, held_out = read(written.train), read(written.held_out)
    assert sorted([*train, *held_out]) == sorted(rows)
    assert Counter(label for _, label in held_out) == {"pos": 2, "neg": 2}
    assert written.source == f"20 reviews of {tmp_path / 'own.csv'}"


def test_numbers_as_labels_are_kept(tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").write_text(
        "".join(json.dumps({"text": f"t{n}", "label": n % 2}) + "\n" for n in range(10))
    )
    written = data.write(tmp_path, tmp_path / "own.jsonl")
    assert {label for _, label in read(written.train)} == {"0", "1"}


def test_imdbs_layout_has_its_own_held_out_part(tmp_path: Path) -> None:
    for part, count in (("train", 3), ("test", 2)):
        for label in ("pos", "neg"):
            texts(tmp_path / "aclImdb" / part, label, count)
    (tmp_path / "aclImdb/train/unsup").mkdir()
    (tmp_path / "aclImdb/train/unsup/0_0.txt").write_text("nobody has said")
    written = data.write(tmp_path, tmp_path / "aclImdb")
    assert sorted(read(written.train)) == [
        (f"{label} train {number}, caf\u00e9", label) for label in ("neg", "pos") for number in range(3)
    ]
    assert Counter(label for _, label in read(written.held_out)) == {"pos": 2, "neg": 2}


def test_texts_in_folders_are_split(tmp_path: Path) -> None:
    for label in ("pos", "neg"):
        texts(tmp_path / "own", label, 10)
    written = data.write(tmp_path, tmp_path / "own")
    assert (len(read(written.train)), len(read(written.held_out))) == (16, 4)
