from __future__ import annotations

from typing import Any

import pytest

import modelyard
from modelyard.datasets.image_options import ImageOptions
from modelyard.errors import InvalidInputError
from modelyard.jobs.spec import Artifact, Dataset, JobSpec, ResultFormat
from modelyard.names import ModelVersion
from modelyard.sdk.jobs.options import JobOptions

MODEL = ModelVersion("digits", "1")
DATASET = Dataset(artifact=Artifact("0" * 64))


def test_what_is_not_said_is_the_default_of_a_spec() -> None:
    spec = JobOptions().spec(MODEL, DATASET)
    assert spec == JobSpec(spec.inference)
    assert (spec.inference.model, spec.inference.version, spec.inference.dataset) == ("digits", "1", DATASET)


def test_all_that_can_be_said() -> None:
    columns = {"x": ["a", "b"], "mask": "m"}
    said = JobOptions(columns, True, "csv", None, "npy", "id", "user", 16, 2, 60.0, 4, 0)
    spec = said.spec(MODEL, DATASET)
    inference = spec.inference
    assert inference.columns == (("x", ("a", "b")), ("mask", ("m",)))
    assert (inference.cast, inference.output.format, inference.output.key_column) == (True, ResultFormat.NPY, "id")
    assert (inference.sharding.key_column, inference.sharding.shards) == ("user", 16)
    assert (spec.priority, spec.deadline_s, spec.max_attempts, spec.max_dead_rows) == (2, 60.0, 4, 0)
    said.check(MODEL)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"priority": 10}, "priority: expected 0 to 9, got 10"),
        ({"priority": "high"}, "priority: expected an integer of at most 32 bits, got 'high'"),
        ({"format": "csv"}, "format: expected parquet or npy, got 'csv'"),
        ({"kind": "xls"}, "dataset: expected a kind of npy, npz, parquet, csv, jsonl, images; got 'xls'"),
        ({"shards": 4}, "shards: expected 0 without a key column"),
        ({"deadline_s": -1}, "deadline_s: expected a number of seconds"),
        ({"columns": {"x": []}}, "columns: input 'x': expected names of columns, got []"),
        ({"images": ImageOptions(mean=(1, 1, 1))}, "images: expected a scale where there is a mean"),
    ],
)
def test_what_makes_no_sense_is_named(said: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError) as raised:
        JobOptions(**said).check(MODEL)
    assert message in raised.value.message


def test_the_package_has_them() -> None:
    assert modelyard.JobOptions is JobOptions
    assert modelyard.ImageOptions is ImageOptions
