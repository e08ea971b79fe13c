"""What is not counted as it happens is looked at once a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from typing import Protocol

from modelyard.metrics.journal import Journal
from modelyard.metrics.retention import Retention
from modelyard.names import ModelVersion

EVERY_S = 1.0


class Sampler(Protocol):
    """What looks at one part of a service."""

    def sample(self) -> None:
        """Write into the journal how it is now."""
        ...


class Samplers:
    """Looks at everything in turn, and removes what belongs to versions that are long gone."""

    def __init__(
        self,
        journal: Journal,
        present: Callable[[], Collection[ModelVersion]],
        *samplers: Sampler,
        retention: Retention | None = None,
    ) -> None:
        """`present`: the versions whose metrics stay."""
        self._journal = journal
        self._present = present
        self._samplers = samplers
        self._retention = retention or Retention()

    async def run(self) -> None:
        """Sample once a second, until cancelled."""
        while True:
            self.sample()
            await asyncio.sleep(EVERY_S)

    def sample(self) -> None:
        """Sample once."""
        with self._journal.lock:
            self._journal.mend()
            self._journal.drop(self._retention.lapsed(self._journal.versions, self._present(), time.monotonic()))
            for sampler in self._samplers:
                sampler.sample()
