from __future__ import annotations

from pathlib import Path

from modelyard.config import load
from modelyard.local.plan import UpOptions
from modelyard_worker.config import Config


def test_code_of_users_is_run_where_that_was_said_and_in_a_suite_of_ones_own() -> None:
    assert not load(Config, [], {}).allow_code
    assert load(Config, ["--allow-code"], {}).allow_code
    assert UpOptions(Path()).allow_code
