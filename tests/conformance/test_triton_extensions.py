"""Triton's extensions through an unmodified tritonclient, at the front door and at a runner: the same answers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest

from modelyard import Client
from tests.conformance.conftest import MAX_BATCH_SIZE, Served
from tests.conformance.foreign import run_program

TOLERANCE = 1e-6
ROWS = 8
INVALID, NOT_FOUND = "INVALID_ARGUMENT", "NOT_FOUND"


@dataclass(frozen=True)
class Said:
    """What tritonclient reported, and the numbers of a local run."""

    target: str
    report: dict[str, Any]
    expected: npt.NDArray[np.float32]


@pytest.fixture(scope="module", params=["front door", "runner"])
def said(request: pytest.FixtureRequest, served: Served, tmp_path_factory: pytest.TempPathFactory) -> Said:
    """One run of tests/conformance/clients/triton_extensions.py at each server."""
    directory: Path = tmp_path_factory.mktemp("triton")
    rows = np.random.default_rng(2).random((40, 64), np.float32)
    np.save(directory / "x.npy", rows)
    address = served.address
    if request.param == "runner":
        with Client(served.address) as client:
            address = client.deployment(served.digits).instances[0].endpoint
    output = run_program("triton_extensions", address, str(directory), served.digits)
    expected = onnxruntime.InferenceSession(served.digits_file).run(None, {"x": rows})[0]
    return Said(request.param, json.loads(output), expected)


def near(answer: Any, expected: npt.NDArray[np.float32]) -> None:
    np.testing.assert_allclose(np.array(answer, np.float32), expected, rtol=0, atol=TOLERANCE)


def test_every_call_of_a_stream_is_answered(said: Said) -> None:
    answers = said.report["streaming"]["many"]
    good = {int(a["id"]): a for a in answers if "error" not in a}
    assert sorted(good) == list(range(len(said.expected)))
    for index, answer in good.items():
        near(answer["y"], said.expected[index][None])
        assert not answer["final"]


def test_a_bad_message_of_a_stream_is_answered_and_the_stream_goes_on(said: Said) -> None:
    (bad,) = [a["error"] for a in said.report["streaming"]["many"] if "error" in a]
    assert "'x': expected shape [-1, 64], got [1, 63]" in bad
    (nobody,) = said.report["streaming"]["unknown"]
    assert "no-such-model" in nobody["error"]


def test_a_final_response_is_marked_where_that_is_asked_for(said: Said) -> None:
    (final,) = said.report["streaming"]["final"]
    assert (final["id"], final["final"]) == ("final", True)


def test_calls_of_a_sequence_are_answered_in_their_order(said: Said) -> None:
    found: dict[str, list[int]] = {}
    for answer in said.report["sequences"]["streamed"]:
        sequence, index = answer["id"].split("/")
        found.setdefault(sequence, []).append(int(index))
        near(answer["y"], said.expected[int(index)][None])
    assert list(found.values()) == [list(range(ROWS))] * 2
    for index, rows in enumerate(said.report["sequences"]["unary"]):
        near(rows, said.expected[index][None])


def test_a_sequence_that_was_never_started(said: Said) -> None:
    refusal = said.report["sequences"]["never started"]
    assert refusal["status"] == INVALID, refusal
    assert "sequence" in refusal["message"]


def test_tensors_lie_in_shared_memory(said: Said) -> None:
    memory = said.report["shared memory"]
    near(memory["y"], said.expected[:ROWS])
    assert memory["sent"] == 0
    size = ROWS * 64 * 4
    regions = {
        name: (int(r.get("offset", 0)), int(r["byte_size"]))
        for name, r in memory["status"].items()
        if name in ("rows", "answers")
    }
    assert regions == {"rows": (0, size), "answers": (size, ROWS * 40)}
    assert not {"rows", "answers"} & set(memory["afterwards"].get("regions", {}))


@pytest.mark.parametrize(
    ("case", "status", "words"),
    [
        ("unknown region", INVALID, ["'x'", "'nowhere' is not registered"]),
        ("beyond the region", INVALID, ["'x'", "at most 2048 bytes", "offset 4"]),
        ("too few bytes", INVALID, ["'x'", "2048", "2044"]),
        ("output does not fit", INVALID, ["'y'", "320", "4"]),
        ("registered otherwise", "ALREADY_EXISTS", ["'rows'", "2048"]),
        ("no such key", INVALID, ["'other'", "/no-such-key"]),
        ("larger than it is", INVALID, ["'other'", str(1 << 30)]),
        ("status of none", NOT_FOUND, ["'nowhere'"]),
        ("cuda", "UNIMPLEMENTED", ["CUDA shared memory"]),
    ],
)
def test_refusals_of_shared_memory(said: Said, case: str, status: str, words: list[str]) -> None:
    refusal = said.report["shared memory"]["refused"][case]
    assert refusal["status"] == status, refusal
    assert [word for word in words if word not in refusal["message"]] == [], refusal["message"]


def test_classes(said: Said) -> None:
    for classes, row in zip(said.report["parameters"]["classes"], said.expected, strict=False):
        best = np.argsort(-row)[:3]
        assert [int(c.split(":")[1]) for c in classes] == best.tolist()
        near([float(c.split(":")[0]) for c in classes], row[best])


def test_good_parameters(said: Said) -> None:
    near(said.report["parameters"]["good"], said.expected[:2])


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("priority", "parameter 'priority': expected an integer from 0 to 9, got 10"),
        ("timeout 0", "parameter 'timeout': expected an integer from 1 to"),
        ("timeout -1", "parameter 'timeout': expected an integer from 1 to"),
        ("sequence -1", "parameter 'sequence_id': expected an integer from 1 to"),
    ],
)
def test_refusals_of_parameters(said: Said, case: str, message: str) -> None:
    refusal = said.report["parameters"]["refused"][case]
    assert refusal["status"] == INVALID, refusal
    assert message in refusal["message"]


def test_configuration(said: Said, served: Served) -> None:
    config = said.report["description"]["config"]
    assert (config["name"], config["platform"], config["backend"]) == (
        served.digits,
        "onnxruntime_onnx",
        "onnxruntime",
    )
    assert config["input"] == [{"name": "x", "data_type": "TYPE_FP32", "dims": ["64"]}]
    assert config["output"] == [{"name": "y", "data_type": "TYPE_FP32", "dims": ["10"]}]
    assert config["max_batch_size"] == MAX_BATCH_SIZE
    assert config["dynamic_batching"]["priority_levels"] == "9"
    assert config["version_policy"] == {"specific": {"versions": ["1"]}}
    assert config["instance_group"][0]["kind"] == "KIND_CPU"


def test_statistics_count_what_was_executed(said: Said, served: Served) -> None:
    (found,) = said.report["description"]["statistics"]
    assert (found["name"], found["version"]) == (served.digits, "1")
    stats = found["inference_stats"]
    least = len(said.expected) + 2 * ROWS if said.target == "front door" else 1
    assert int(stats["success"]["count"]) >= least
    assert int(stats["fail"]["count"]) >= 1
    assert int(stats["compute_infer"]["ns"]) > 0
    assert int(found["inference_count"]) >= int(found["execution_count"]) > 0
    assert found["batch_stats"]
    assert served.digits in said.report["description"]["all statistics"]


def test_the_server_names_its_extensions(said: Said) -> None:
    names = set(said.report["description"]["server"]["extensions"])
    assert {"classification", "sequence", "system_shared_memory", "model_configuration", "statistics"} <= names
    assert {"model_repository", "logging"} <= names
    assert "trace" not in names


def test_the_index_lists_what_is_held(said: Said, served: Served) -> None:
    states = {m["name"]: m["state"] for m in said.report["description"]["index"]}
    assert states[served.digits] == "READY"
    assert (served.idle in states) is (said.target == "front door")


def test_a_model_that_is_loaded_can_be_loaded(said: Said) -> None:
    assert said.report["description"]["load"] is None


def test_trace_settings(said: Said) -> None:
    description = said.report["description"]
    assert description["traces"]["trace_level"] == {"value": ["OFF"]}
    assert description["tracing"]["status"] == "UNIMPLEMENTED"
    assert "this server writes no traces" in description["tracing"]["message"]


def test_log_settings(said: Said) -> None:
    description = said.report["description"]
    assert description["verbose"] == {"uint32_param": 1}
    assert description["quiet"]["log_verbose_level"] == {"uint32_param": 0}
    assert description["bad log setting"]["status"] == INVALID
    assert "'colour'" in description["bad log setting"]["message"]
