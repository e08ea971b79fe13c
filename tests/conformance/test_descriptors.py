"""Our Open Inference Protocol is tritonclient's: the same names, numbers, types and labels; both fit one process."""

from __future__ import annotations

import json

import pytest

from modelyard.oip import messages
from tests.conformance.clients.describe import Declared, describe
from tests.conformance.foreign import run_program

FILES = ("inference/model_config.proto", "inference/grpc_service.proto")


@pytest.fixture(scope="module")
def theirs() -> Declared:
    """What tritonclient declares, read in a process of its own."""
    declared: Declared = json.loads(run_program("describe"))
    return declared


@pytest.fixture(scope="module")
def ours() -> Declared:
    """What we declare."""
    return json.loads(json.dumps(describe(messages.POOL.FindFileByName(name) for name in FILES)))  # type: ignore[no-any-return]


def test_we_declare_all_that_tritonclient_declares(ours: Declared, theirs: Declared) -> None:
    assert len(theirs) > 100
    assert sorted(theirs.keys() - ours.keys()) == []


def test_we_declare_nothing_more(ours: Declared, theirs: Declared) -> None:
    assert sorted(ours.keys() - theirs.keys()) == []


def test_every_message_enum_and_method_is_the_same(ours: Declared, theirs: Declared) -> None:
    assert {name: ours[name] for name in theirs} == theirs


@pytest.mark.parametrize("first", ["modelyard", "tritonclient"])
def test_the_sdk_shares_a_process_with_tritonclient(first: str) -> None:
    assert run_program("beside", first, with_modelyard=True) == "ok\n"
