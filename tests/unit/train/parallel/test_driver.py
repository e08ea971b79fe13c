"""What becomes of the thread in which a rank of a shared model trains."""

from __future__ import annotations

import sys
from typing import Any

from modelyard.train.parallel.driver import ReplicaDriver


class Leaving(ReplicaDriver):
    """Code of the recipe ends the thread, where nothing else hears of it."""

    def _train(self, *_: Any) -> Any:
        sys.exit("enough")


def test_whatever_ends_it_is_heard_of() -> None:
    nothing: Any = None
    driver = Leaving(nothing, nothing, nothing)
    driver._work(nothing, nothing)
    assert str(driver._outcome.exception(0)) == "enough"
