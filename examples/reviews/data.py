"""Film reviews as two files: python -m examples.reviews.data DIRECTORY [REVIEWS].

REVIEWS is a CSV or JSONL file with the columns text and label, or a directory of texts by label, pos/*.txt and
neg/*.txt. That of the Large Movie Review Dataset (aclImdb, Maas et al. 2011) has such in train and in test. If none is
given, reviews are made up.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from examples.reviews import made_up
from modelyard.train.data.opening import TableOptions, open_table
from modelyard.train.data.table import Table

MADE_UP = 800
LABELS = ("neg", "pos")
Review = tuple[str, str]


@dataclass(frozen=True)
class Written:
    """Two files, each with `text` and `label`.

    Attributes:
        source: in words.
    """

    train: Path
    held_out: Path
    source: str


def write(directory: Path, reviews: Path | None = None) -> Written:
    """Write train.jsonl and held_out.jsonl, of which the latter has a fifth if nothing else is said."""
    rows, held_out, source = _read(reviews) if reviews else _made_up()
    paths = directory / "train.jsonl", directory / "held_out.jsonl"
    for path, pairs in zip(paths, (rows, held_out), strict=True):
        with path.open("w") as file:
            file.writelines(json.dumps({"text": text, "label": label}) + "\n" for text, label in pairs)
    return Written(*paths, source)


def _made_up() -> tuple[list[Review], list[Review], str]:
    found = made_up.reviews(MADE_UP)
    return found[: -MADE_UP // 5], found[-MADE_UP // 5 :], f"{MADE_UP} made-up reviews, which come with this example"


def _read(reviews: Path) -> tuple[Iterable[Review], Iterable[Review], str]:
    if (reviews / "train").is_dir():
        parts = tuple(open_table(reviews / name, TableOptions(folders=LABELS)) for name in ("train", "test"))
    elif reviews.is_dir():
        parts = open_table(reviews, TableOptions(folders=LABELS)).split((0.8, 0.2), seed=0, stratified=True)
    else:
        columns = TableOptions(features=("text",), target="label")
        parts = open_table(reviews, columns).split((0.8, 0.2), seed=0, stratified=True)
    return _pairs(parts[0]), _pairs(parts[1]), f"{sum(map(len, parts))} reviews of {reviews}"


def _pairs(table: Table) -> Iterable[Review]:
    for index in range(len(table)):
        text, label = table[index]
        yield text, str(label if isinstance(label, str) else int(label))


if __name__ == "__main__":
    print(write(Path(sys.argv[1]), *map(Path, sys.argv[2:3])).source)
