from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from modelyard.catalogue import CHUNK_SIZE_BYTES, File, Lineage, Manifest, Resources, Signature, TensorSpec
from modelyard.errors import InvalidInputError
from modelyard_registry.artifacts.publisher import Draft, check_draft, check_resources
from modelyard_registry.catalogue.records import check_metrics

DIGEST = "a" * 64
DRAFT = Draft(
    model="digits",
    version="",
    format="onnx",
    manifest=Manifest((File("m.onnx", 10, (DIGEST,)),)),
    resources=Resources(),
    labels={},
    description="",
    tenant="default",
)


@pytest.mark.parametrize("resources", [Resources(), Resources(0.5, 1 << 62, 8)])
def test_good_resources(resources: Resources) -> None:
    check_resources(resources)


@pytest.mark.parametrize(
    ("resources", "name"),
    [
        (Resources(cpu=math.nan), "cpu"),
        (Resources(cpu=math.inf), "cpu"),
        (Resources(cpu=-0.1), "cpu"),
        (Resources(memory_bytes=-1), "memory_bytes"),
        (Resources(gpu=-1), "gpu"),
    ],
)
def test_bad_resources(resources: Resources, name: str) -> None:
    with pytest.raises(InvalidInputError, match=f"resources: {name}: expected a number, 0 or more"):
        check_resources(resources)


@pytest.mark.parametrize(
    ("resources", "said"),
    [
        (
            Resources(memory_bytes=1 << 63),
            "memory_bytes: expected at most 9223372036854775807, got 9223372036854775808",
        ),
        (Resources(gpu=1 << 31), "gpu: expected at most 2147483647, got 2147483648"),
    ],
)
def test_resources_that_no_message_carries(resources: Resources, said: str) -> None:
    with pytest.raises(InvalidInputError, match=f"resources: {said}"):
        check_resources(resources)


def test_good_metrics() -> None:
    check_metrics({})
    check_metrics({"accuracy": 0.97, "loss": -1e300, "top-5": 0.0})


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ({"accuracy": math.nan}, "metric 'accuracy': expected a finite number, got nan"),
        ({"loss": math.inf}, "metric 'loss': expected a finite number, got inf"),
        ({"": 1.0}, "metric name: expected 1 to 120 characters"),
        ({"a b": 1.0}, "metric name 'a b': expected letters"),
    ],
)
def test_bad_metrics(metrics: dict[str, float], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        check_metrics(metrics)


def test_so_many_metrics() -> None:
    metrics = {f"m{n}": 1.0 for n in range(100)}
    check_metrics(metrics)
    with pytest.raises(InvalidInputError, match="metrics: expected at most 100, got 101"):
        check_metrics(metrics | {"one-more": 1.0})


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"version": "v1", "upload": "u1", "labels": {"team": "vision"}, "metrics": {"accuracy": 0.5}},
        *({"lineage": Lineage(parent_version=parent)} for parent in ("1", "prod", "digits@1", "other@prod")),
        {"declared": Signature((TensorSpec("x", "FP32", (-1,)),))},
        {"format": "torch_export", "manifest": Manifest((File("m.pt2", 2 << 30, (DIGEST,) * 256),))},
    ],
)
def test_good_drafts(fields: dict[str, Any]) -> None:
    check_draft(dataclasses.replace(DRAFT, **fields))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"version": "a/b"}, "version name 'a/b': expected letters"),
        ({"upload": "a/b"}, "upload name 'a/b': expected letters"),
        ({"labels": {str(n): "" for n in range(101)}}, "labels: expected at most 100, got 101"),
        ({"metrics": {str(n): 0.0 for n in range(101)}}, "metrics: expected at most 100, got 101"),
        ({"resources": Resources(gpu=1 << 31)}, "resources: gpu: expected at most 2147483647"),
        ({"format": "pickle"}, "format: expected one of"),
        (
            {"declared": Signature((TensorSpec("x", "FP32", (-7,)),))},
            "declared signature: input 'x': expected dimensions of 0 to 9223372036854775807, or -1 for any, got -7",
        ),
        (
            {"declared": Signature((), (TensorSpec("y", "float", ()),))},
            "declared signature: output 'y': expected a datatype of",
        ),
        (
            {"manifest": Manifest((File("big.onnx", 4_000 * CHUNK_SIZE_BYTES, (DIGEST,) * 4_000),))},
            "big.onnx: expected at most 2147483647 bytes, as protobuf allows, got 33554432000",
        ),
    ],
)
def test_bad_drafts(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        check_draft(dataclasses.replace(DRAFT, **fields))
    assert caught.value.message.startswith(said)
