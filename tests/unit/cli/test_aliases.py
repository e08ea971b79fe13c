from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from modelyard.errors import PreconditionError
from tests.unit.fakes import FakeSuite

Run = Callable[..., str]


@pytest.fixture(autouse=True)
def digits(run: Run, model: str) -> None:
    for _ in range(3):
        run("push", "digits", model)


def test_alias(fakes: FakeSuite, run: Run, run_json: Callable[..., Any], fail: Run) -> None:
    assert run("alias", "digits", "prod", "1") == "digits@prod is digits@1\n"
    assert run_json("alias", "digits", "prod", "2")["version"] == "2"
    fakes.registry.failures["SetAlias"] = [PreconditionError("digits@prod: version 3 breaks callers of 2; force it")]
    assert "force" in fail("alias", "digits", "prod", "3")
    assert not fakes.registry.requests[-1].force
    run("alias", "digits", "prod", "3", "--force")
    assert fakes.registry.requests[-1].force
    assert run("alias", "digits", "prod", "--delete") == "deleted digits@prod\n"
    assert "expected either a version or --delete" in fail("alias", "digits", "prod")
    assert "expected either a version or --delete" in fail("alias", "digits", "prod", "1", "--delete")


def test_history_and_rollback(run: Run, run_json: Callable[..., Any], fail: Run) -> None:
    run("alias", "digits", "prod", "1")
    run("alias", "digits", "prod", "2")
    assert run("rollback", "digits@prod") == "digits@prod is digits@1 again\n"
    run("alias", "digits", "canary", "3")
    shown = [" ".join(line.split()) for line in run("history", "digits").splitlines()]
    assert shown[-4:] == [
        "2023-11-14 22:13:23 acme canary - → 3 created",
        "2023-11-14 22:13:22 acme prod 2 → 1 rolled back",
        "2023-11-14 22:13:21 acme prod 1 → 2",
        "2023-11-14 22:13:20 acme prod - → 1 created",
    ]
    newest = run_json("history", "digits@prod")[0]
    assert (newest["from_version"], newest["to_version"], newest["rollback"]) == ("2", "1", True)
    assert run_json("rollback", "digits@prod")["version"] == "2"
    assert fail("rollback", "digits") == "error: rollback: expected NAME@ALIAS, got 'digits'\n"
    assert "never pointed at anything else" in fail("rollback", "digits@canary")
    assert fail("history", "absent") == "error: model 'absent': not registered\n"


def test_a_canary_is_set_shown_and_ended(run: Run, run_json: Callable[..., Any], model: str) -> None:
    said = run("alias", "digits", "prod", "1", "--canary", "2", "--percent", "12.5")
    assert said == "digits@prod is digits@1, 12.5% of its calls 2\n"
    assert "prod=1 (12.5% 2)" in run("show", "digits")
    assert "prod (12.5%)" in run("show", "digits@2")
    assert "- → 1, 12.5% of its calls 2" in run("history", "digits@prod")
    assert run_json("history", "digits")[0]["canary_percent"] == 12.5
    assert run("alias", "digits", "prod", "1") == "digits@prod is digits@1\n"
