from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from modelyard.errors import AbortedError, PreconditionError
from tests.unit.fake_catalogue import EXPIRE_S
from tests.unit.fakes import FakeSuite

Run = Callable[..., str]


@pytest.fixture(autouse=True)
def digits(run: Run, model: str) -> None:
    run("push", "digits", model, "--label", "team=a", "--label", "stage=dev", "--metric", "loss=1")


def test_rm_and_undelete_a_version(fakes: FakeSuite, run: Run, run_json: Callable[..., Any], fail: Run) -> None:
    text = run("rm", "digits@1")
    assert text.startswith("deleted digits@1; until 2027-01-15 08:00:00 UTC (")
    assert text.endswith(") `modelyard undelete digits@1` brings it back\n")
    assert run("undelete", "digits@1") == "digits@1 is back\n"
    deleted = run_json("rm", "digits@1")
    assert deleted == {"deleted": "digits@1", "purged": False, "expire_time_s": EXPIRE_S}
    assert run_json("undelete", "digits@1")["state"] == "ACTIVE"
    assert run_json("rm", "digits@1", "--purge") == {"deleted": "digits@1", "purged": True, "expire_time_s": 0.0}
    assert "no version or alias '1'" in fail("undelete", "digits@1")
    fakes.registry.failures["DeleteVersion"] = [PreconditionError("digits@1: it is deployed; undeploy it first")]
    assert fail("rm", "digits@1") == "error: digits@1: it is deployed; undeploy it first\n"


def test_rm_and_undelete_a_model(run: Run, run_json: Callable[..., Any], fail: Run) -> None:
    run("rm", "digits")
    assert run("undelete", "digits") == "digits is back\n"
    assert run("rm", "digits", "--purge") == "purged digits\n"
    assert fail("rm", "digits") == "error: model 'digits': not registered\n"


def test_update_a_model(fakes: FakeSuite, run: Run, run_json: Callable[..., Any], fail: Run) -> None:
    changed = run_json(
        *("update", "digits", "--description", "reads", "--licence", "MIT", "--keep-last", "3"),
        *("--label", "team=b", "--label", "tier=1", "--drop-label", "stage"),
    )
    assert changed["labels"] == {"team": "b", "tier": "1"}
    assert (changed["description"], changed["licence"], changed["keep_last"]) == ("reads", "MIT", 3)
    assert run("update", "digits", "--description", "") == "changed digits\n"
    assert list(fakes.registry.requests[-1].update_mask.paths) == ["description"]
    assert fakes.registry.requests[-1].model.etag, "what others change meanwhile is not overwritten"
    assert "expected something to change" in fail("update", "digits")
    assert "expected a version as NAME@VERSION, got the model 'digits'" in fail("update", "digits", "--metric", "a=1")
    assert "expected one of team, tier to remove, got 'absent'" in fail("update", "digits", "--drop-label", "absent")


def test_update_a_version(fakes: FakeSuite, run: Run, run_json: Callable[..., Any], fail: Run) -> None:
    run("alias", "digits", "prod", "1")
    changed = run_json("update", "digits@prod", "--metric", "accuracy=0.5", "--drop-metric", "loss")
    assert changed["metrics"] == {"accuracy": 0.5}
    assert fakes.registry.requests[-1].version.version == "1", "an alias is resolved"
    assert fakes.registry.requests[-1].version.etag, "what others change meanwhile is not overwritten"
    assert run("update", "digits@1", "--label", "team=c") == "changed digits@1\n"
    assert dict(fakes.registry.versions["digits", "1"].labels) == {"team": "c", "stage": "dev"}
    assert "--licence: expected the name of a model, got the version" in fail("update", "digits@1", "--licence", "MIT")
    fakes.registry.failures["UpdateVersion"] = [AbortedError("expected etag 1, it is 2 by now")]
    assert "expected etag 1" in fail("update", "digits@1", "--description", "late")
