from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from modelyard.datasets import opening
from modelyard.datasets.image_options import ImageOptions
from modelyard.errors import InvalidInputError
from modelyard.jobs.dataset_validation import KINDS, MOST_INLINE_BYTES, MOST_NAMES_BYTES
from modelyard.jobs.spec import Artifact, Dataset, Output, ResultFormat, Sharding
from modelyard.jobs.validation import check_spec
from modelyard.queue import records
from tests.unit.jobs.submitted import DIGEST, SPEC


def refused(**changes: Any) -> str:
    """With what message a spec is refused that differs in some fields, of itself or of its inference."""
    own = {field: value for field, value in changes.items() if field in SPEC.__dataclass_fields__}
    inference = {field: value for field, value in changes.items() if field not in own}
    with pytest.raises(InvalidInputError) as error:
        check_spec(replace(SPEC, batch_inference=replace(SPEC.inference, **inference), **own))
    return error.value.message


def test_kinds_and_priorities_are_those_of_who_has_to_know() -> None:
    assert sorted(KINDS) == sorted(opening.KINDS)
    check_spec(replace(SPEC, priority=records.MAX_PRIORITY))
    assert str(records.MAX_PRIORITY) in refused(priority=records.MAX_PRIORITY + 1)


@pytest.mark.parametrize(
    "dataset",
    [
        Dataset(artifact=Artifact(DIGEST)),
        Dataset(url="s3://bucket/rows.parquet"),
        Dataset(inline=b"", kind="jsonl"),
        Dataset(inline=bytes(MOST_INLINE_BYTES), kind="npy"),
        Dataset(artifact=Artifact(DIGEST, "a/b"), kind="images", images=ImageOptions(crop=(2, 2))),
    ],
)
def test_what_makes_sense_is_accepted(dataset: Dataset) -> None:
    inference = replace(
        SPEC.inference,
        dataset=dataset,
        columns=(("x", ("a", "b")), ("y", ("*",))),
        output=Output(ResultFormat.NPY, "id"),
        sharding=Sharding("id", 16),
    )
    check_spec(replace(SPEC, batch_inference=inference, priority=0, deadline_s=0.5, max_attempts=1, max_dead_rows=0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"priority": 10}, "job: priority: expected 0 to 9, got 10"),
        ({"priority": -1}, "job: priority: expected 0 to 9, got -1"),
        ({"max_attempts": 0}, "job: max_attempts: expected 1 to 100, got 0"),
        ({"max_attempts": 101}, "job: max_attempts: expected 1 to 100, got 101"),
        ({"max_dead_rows": -1}, "job: max_dead_rows: expected at least 0, got -1"),
        ({"deadline_s": -1.0}, "job: deadline_s: expected a number of seconds, 0 for none; got -1.0"),
        ({"deadline_s": float("inf")}, "job: deadline_s: expected a number of seconds, 0 for none; got inf"),
        ({"deadline_s": float("nan")}, "job: deadline_s: expected a number of seconds, 0 for none; got nan"),
        ({"model": ""}, "model name: expected 1 to 120 characters, got an empty string"),
        (
            {"version": "a b"},
            "version name 'a b': expected letters, digits, '.', '_' and '-', beginning with a letter or digit",
        ),
        ({"columns": (("", ("a",)),)}, "job: columns: expected each input once, by its name; got ''"),
        (
            {"columns": (("x", ("a",)), ("x", ("b",)))},
            "job: columns: expected each input once, by its name; got 'x'",
        ),
        ({"columns": (("x", ()),)}, "job: columns: input 'x': expected names of columns, got []"),
        ({"columns": (("x", ("a", "")),)}, "job: columns: input 'x': expected names of columns, got ['a', '']"),
        ({"sharding": Sharding("id", 1025)}, "job: shards: expected 0 to 1024, got 1025"),
        ({"sharding": Sharding("", 4)}, "job: shards: expected 0 without a key column to shard by, got 4"),
    ],
)
def test_what_makes_no_sense_is_named(changes: dict[str, Any], message: str) -> None:
    assert refused(**changes) == message


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (Dataset(), "job: dataset: expected one of artifact, url, inline; got none"),
        (
            Dataset(artifact=Artifact(DIGEST), inline=b""),
            "job: dataset: expected one of artifact, url, inline; got artifact and inline",
        ),
        (
            Dataset(url="s3://b", kind="xls"),
            "job: dataset: expected a kind of npy, npz, parquet, csv, jsonl, images; got 'xls'",
        ),
        (
            Dataset(artifact=Artifact("ABC")),
            "job: dataset: expected the manifest's sha256 in 64 hex digits, got 'ABC'",
        ),
        (
            Dataset(artifact=Artifact(DIGEST, "../x")),
            "job: dataset: expected a path within the artifact, got '../x'",
        ),
        (Dataset(artifact=Artifact(DIGEST, "/x")), "job: dataset: expected a path within the artifact, got '/x'"),
        (Dataset(url="s3://" + "x" * 2044), "job: dataset: expected a URL of at most 2048 characters, got 2049"),
        (
            Dataset(inline=b"1", kind="images"),
            "job: dataset: expected a kind of npy, npz, parquet, csv, jsonl for what is inline; got 'images'",
        ),
        (
            Dataset(inline=b"1"),
            "job: dataset: expected a kind of npy, npz, parquet, csv, jsonl for what is inline; got ''",
        ),
        (
            Dataset(inline=bytes(MOST_INLINE_BYTES + 1), kind="npy"),
            "job: dataset: expected at most 8388608 bytes inline, got 8388609; upload it instead",
        ),
        (
            Dataset(artifact=Artifact(DIGEST), images=ImageOptions(crop=(0, 1))),
            "images: expected sizes in pixels, got resize None and crop (0, 1)",
        ),
    ],
)
def test_a_dataset_is_one_thing(dataset: Dataset, message: str) -> None:
    assert refused(dataset=dataset) == message


@pytest.mark.parametrize(
    "fields", [{"columns": (("x", ("c" * MOST_NAMES_BYTES,)),)}, {"output": Output(key_column="\u2603" * 100_000)}]
)
def test_a_spec_leaves_room_in_its_record(fields: dict[str, Any]) -> None:
    assert refused(**fields).startswith(f"job: columns: expected names of at most {MOST_NAMES_BYTES} bytes, got ")


def test_rows_that_are_inline_do_not_count() -> None:
    dataset = Dataset(inline=bytes(MOST_INLINE_BYTES), kind="npy")
    check_spec(replace(SPEC, batch_inference=replace(SPEC.inference, dataset=dataset)))
