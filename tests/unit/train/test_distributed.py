"""Two processes over gloo against one: the same steps, the same weights."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from modelyard.train.order import order
from tests.unit.train.rank import alone

WORLD = 2
CASES: dict[str, dict[str, Any]] = {
    "even": {"samples": 32, "options": {"epochs": 2, "batch_size": 8}},
    "uneven shares, partial batch": {"samples": 33, "validation": 5, "options": {"epochs": 3, "batch_size": 7}},
    "an empty share": {"samples": 9, "validation": 1, "options": {"epochs": 2, "batch_size": 4}},
    "empty from the first": {"samples": 5, "options": {"epochs": 2, "batch_size": 1}},
    "accumulation": {"samples": 30, "options": {"epochs": 2, "batch_size": 11, "accumulation": 3}},
    "clipped": {"samples": 33, "parameters": {"clip_norm": 0.05}, "options": {"epochs": 2, "batch_size": 7}},
    "augmented": {"samples": 20, "recipe": "Augmented", "options": {"epochs": 2, "batch_size": 6}},
}
DROPOUT = {"samples": 33, "parameters": {"dropout": 0.5}, "options": {"epochs": 2, "batch_size": 7}}
NORMALISED = {"samples": 34, "parameters": {"normalised": True}, "options": {"epochs": 2, "batch_size": 8}}
NOT_FINITE = {"samples": 20, "bad": int(order(20, 0, 0)[12]), "options": {"epochs": 1, "batch_size": 7}}
LOST = {"samples": 33, "validation": 5, "options": {"epochs": 2, "batch_size": 7}}


def together(cases: list[dict[str, Any]], store: Path) -> list[list[dict[str, Any]]]:
    """Run the cases on two processes; return what each rank has written."""
    with ThreadPoolExecutor(WORLD) as pool:
        return list(pool.map(lambda rank: one_rank(rank, store, cases), range(WORLD)))


def one_rank(rank: int, store: Path, cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.train.rank", str(rank), str(WORLD), str(store)],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=False,
        timeout=170,
    )
    assert done.returncode == 0, done.stderr
    # Gloo writes there, too, when it loses a peer.
    found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, Any]]]:
    """What each rank has, by case; some are run twice."""
    named = {**CASES, "dropout": DROPOUT, "dropout again": DROPOUT, "normalised": NORMALISED}
    named["again"] = CASES["uneven shares, partial batch"]
    named["not finite"] = NOT_FINITE
    named["lost"] = LOST
    store = tmp_path_factory.mktemp("store") / "store"
    return [dict(zip(named, found, strict=False)) for found in together(list(named.values()), store)]


@pytest.mark.parametrize("name", CASES)
def test_two_processes_come_to_the_weights_of_one(ranks: list[dict[str, dict[str, Any]]], name: str) -> None:
    expected = alone(CASES[name])
    for found in ranks:
        assert found[name]["weights"] == pytest.approx(expected["weights"], abs=1e-6)
        assert [step["position"] for step in found[name]["steps"]] == [s["position"] for s in expected["steps"]]
        assert [s["loss"] for s in found[name]["steps"]] == pytest.approx(
            [s["loss"] for s in expected["steps"]], abs=1e-6
        )
        assert _means(found[name]) == pytest.approx(_means(expected), abs=1e-6)
    assert ranks[0][name]["digest"] == ranks[1][name]["digest"]


def test_weights_are_those_of_training(ranks: list[dict[str, dict[str, Any]]]) -> None:
    losses = [step["loss"] for step in ranks[0]["even"]["steps"]]
    assert losses[-1] < 0.8 * losses[0]


def test_bits_are_the_same_twice(ranks: list[dict[str, dict[str, Any]]]) -> None:
    assert ranks[0]["again"] == ranks[0]["uneven shares, partial batch"]
    assert ranks[0]["dropout"] == ranks[0]["dropout again"]
    assert ranks[0]["dropout"]["digest"] == ranks[1]["dropout"]["digest"]


def test_ranks_drop_out_different_units(ranks: list[dict[str, dict[str, Any]]]) -> None:
    assert ranks[0]["dropout"]["weights"] != pytest.approx(alone(DROPOUT)["weights"], abs=1e-3)


def test_buffers_are_the_same_on_all_ranks(ranks: list[dict[str, dict[str, Any]]]) -> None:
    assert ranks[0]["normalised"]["digest"] == ranks[1]["normalised"]["digest"]


def test_the_rank_whose_loss_is_not_finite_is_found(ranks: list[dict[str, dict[str, Any]]]) -> None:
    second = order(20, 0, 0)[7:14].tolist()
    assert [found["not finite"] for found in ranks] == 2 * [{"step": 1, "samples": second[4:]}]


def test_who_is_left_goes_on_with_the_step_that_failed(ranks: list[dict[str, dict[str, Any]]]) -> None:
    found, expected = ranks[0]["lost"], alone(LOST)
    assert "lost" not in ranks[1]
    assert found["ending"] == "FINISHED"
    assert found["weights"] == pytest.approx(expected["weights"], abs=1e-6)
    assert [step["position"] for step in found["steps"]] == [step["position"] for step in expected["steps"]]
    assert [record["samples"] for record in found["history"]] == [33, 33]


def _means(found: dict[str, Any]) -> list[float]:
    parts = [value for record in found["history"] for value in (record["training"], record["validation"])]
    return [part[name] for part in parts for name in sorted(part)]
