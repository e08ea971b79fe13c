from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from modelyard.catalogue import Signature, TensorSpec
from modelyard.datasets.columns import Column
from modelyard.datasets.dataset import Dataset
from modelyard.datasets.opening import open_dataset
from modelyard.datasets.sharding import shard_of
from modelyard.errors import InvalidInputError
from modelyard.jobs.planning import Plan, default_shards
from modelyard.jobs.spec import BatchInference, Output, ResultFormat, Sharding
from modelyard.jobs.spec import Dataset as DatasetSpec
from modelyard_scheduler.jobs.planner.counting import check_fit, count
from tests.planning import ROWS_OF_FOUR, ROWS_OF_ONE
from tests.unit.datasets.written import source

NPY = ResultFormat.NPY


def parquet(**columns: Any) -> Dataset:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return open_dataset(source(out.getvalue(), "x.parquet"))


def npy(values: Any) -> Dataset:
    out = io.BytesIO()
    np.save(out, values)
    return open_dataset(source(out.getvalue(), "x.npy"))


def inference(**fields: Any) -> BatchInference:
    return BatchInference("m", DatasetSpec(), "1", **fields)


def returning(*outputs: TensorSpec) -> Signature:
    return Signature(ROWS_OF_FOUR.inputs, outputs)


FOUR = npy(np.zeros((10, 4), np.float32))


def test_results_have_the_outputs_and_the_key() -> None:
    assert check_fit(FOUR, inference(), ROWS_OF_FOUR) == (Column("y", "FP32", (2,)),)
    dataset = parquet(x=[0.5, 1.5], name=["a", "b"])
    found = check_fit(dataset, inference(cast=True, output=Output(key_column="name")), ROWS_OF_ONE)
    assert found == (Column("name", "BYTES", text=True), Column("y", "FP32", (2,)))
    half = check_fit(FOUR, inference(output=Output(NPY)), returning(TensorSpec("y", "BF16", (-1, 2))))
    assert half == (Column("y", "FP32", (2,)),), "npy has no BF16"


@pytest.mark.parametrize(
    ("asked", "signature", "message"),
    [
        ({"columns": (("x", ("nope",)),)}, ROWS_OF_FOUR, r"x\.npy: expected a column of 'x'; got 'nope'"),
        ({"columns": (("q", ("x",)),)}, ROWS_OF_FOUR, "expected inputs of 'x'; got a mapping for 'q'"),
        ({}, ROWS_OF_ONE, r"expected rows for input x: FP32 \[-1, 1\]; got 'x': FP32 \[4\]"),
        ({"output": Output(key_column="nope")}, ROWS_OF_FOUR, "expected a column of 'x'; got 'nope'"),
        ({}, returning(TensorSpec("y", "FP32", ())), "expected outputs of rows"),
        ({}, Signature(ROWS_OF_FOUR.inputs), "m: expected a model whose signature has inputs and outputs, got 1 and 0"),
        ({"output": Output(NPY)}, returning(TensorSpec("y", "BYTES", (-1,))), "column 'y': BYTES .* ask for Parquet"),
        ({"output": Output(NPY)}, returning(TensorSpec("y", "FP32", (-1, -1))), r"'y': FP32 \[-1\]: .*ask for Parquet"),
    ],
)
def test_what_does_not_fit_is_told(asked: dict[str, Any], signature: Signature, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        check_fit(FOUR, inference(**asked), signature)


def test_an_output_cannot_be_called_as_the_key_is() -> None:
    dataset = parquet(x=[0.5], y=["a"])
    with pytest.raises(InvalidInputError, match="called otherwise than the key"):
        check_fit(dataset, inference(cast=True, output=Output(key_column="y")), ROWS_OF_ONE)


@pytest.mark.parametrize(("name", "text"), [("x.csv", "x,name\n"), ("x.csv", ""), ("x.jsonl", ""), ("x.jsonl", "\n")])
def test_text_without_rows_fits_any_model(name: str, text: str) -> None:
    dataset = open_dataset(source(text, name))
    asked = inference(columns=(("x", ("a", "b")),), output=Output(key_column="name"), sharding=Sharding("name"))
    assert check_fit(dataset, asked, ROWS_OF_FOUR) == (Column("name", "BYTES"), Column("y", "FP32", (2,)))
    assert count(dataset, asked.sharding, lambda: None) == Plan(0)
    assert Plan(0).whole


@pytest.mark.parametrize(
    "dataset", [npy(np.zeros((0, 4), np.float32)), parquet(x=pa.array([], pa.list_(pa.float32(), 4)))]
)
def test_files_without_rows_fit_by_what_they_declare(dataset: Dataset) -> None:
    check_fit(dataset, inference(), ROWS_OF_FOUR)
    assert count(dataset, Sharding(), lambda: None) == Plan(0)
    with pytest.raises(InvalidInputError, match="expected rows for input"):
        check_fit(dataset, inference(), ROWS_OF_ONE)


def test_a_parquet_file_without_row_groups() -> None:
    out = io.BytesIO()
    pq.ParquetWriter(out, pa.schema([("x", pa.float32()), ("k", pa.string())])).close()
    dataset = open_dataset(source(out.getvalue(), "x.parquet"))
    check_fit(dataset, inference(), ROWS_OF_ONE)
    assert count(dataset, Sharding("k", 7), lambda: None) == Plan(0)


def test_rows_are_counted() -> None:
    assert count(FOUR, Sharding(), lambda: None) == Plan(10)


def test_rows_of_shards_are_counted() -> None:
    keys = [f"key {n % 50}" for n in range(9000)]
    lines = "\n".join(json.dumps({"k": key}) for key in keys)
    moves: list[None] = []
    plan = count(open_dataset(source(lines, "x.jsonl")), Sharding("k", 5), lambda: moves.append(None))
    expected = [sum(shard_of(key.encode(), 5) == shard for key in keys) for shard in range(5)]
    assert plan == Plan(9000, shard_rows=tuple(expected))
    assert len(moves) == 3, "blocks of rows"


def test_shards_are_many_unless_it_is_told() -> None:
    plan = count(parquet(k=list(range(1000))), Sharding("k"), lambda: None)
    assert len(plan.shard_rows) == default_shards(1000)
    assert sum(plan.shard_rows) == plan.rows == 1000


def test_what_can_be_no_key_is_told() -> None:
    with pytest.raises(InvalidInputError, match="expected a key of BYTES, whole numbers or BOOL"):
        count(parquet(k=[0.5]), Sharding("k"), lambda: None)
    with pytest.raises(InvalidInputError, match="expected a column of 'k'; got 'nope'"):
        count(parquet(k=["a"]), Sharding("nope"), lambda: None)
    with pytest.raises(InvalidInputError, match="expected a key of BYTES"):
        count(parquet(k=pa.array([], pa.float32())), Sharding("k"), lambda: None)
