"""What a rank's driver asks of its process, answered with the registry's help."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path

from modelyard.catalogue import Version
from modelyard.jobs.gang import Charter
from modelyard.rpc.publishing import Publication, Publishing
from modelyard.train.control.messages import Saved
from modelyard.train.elastic.host import Host
from modelyard.train.loop import Ending
from modelyard.train.step import Training
from modelyard_worker.trainer.checkpoints import Keeping
from modelyard_worker.trainer.data import Opened
from modelyard_worker.trainer.outcome import Outcome, outcome, publication
from modelyard_worker.trainer.release import release

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Press:
    """How versions are published: by this, in a loop that runs in another thread.

    Attributes:
        scratch: a directory, made anew each time.
    """

    publishing: Publishing
    loop: asyncio.AbstractEventLoop
    scratch: Path


class JobHost(Host):
    """Of a rank whose checkpoints and versions go to the registry."""

    def __init__(self, charter: Charter, trains: tuple[Training, Opened], keeping: Keeping, press: Press) -> None:
        self._charter = charter
        self._training, self._data = trains
        self._keeping = keeping
        self._press = press
        self._version = ""

    def enter(self, rank: int) -> None:
        """See Host."""
        self._keeping.leads = rank == 0

    def restore(self, saved: Saved) -> None:
        """See Host."""
        self._keeping.restore(saved, self._training.state)

    @property
    def saves(self) -> bool:
        """See Host."""
        return self._keeping.due

    def conclude(self, ending: Ending) -> str:
        """Export, and publish the version; once done it is not done again."""
        self._keeping.settle()
        if not self._version:
            made = outcome(self._charter, self._training, self._data, self._press.scratch)
            said = publication(self._charter, self._training, made)
            call = self._publish(made, said)
            self._version = asyncio.run_coroutine_threadsafe(call, self._press.loop).result().version
            log.info("published", extra={"model": said.model, "version": self._version, "ending": ending.value})
        return self._version

    async def _publish(self, made: Outcome, said: Publication) -> Version:
        version = await self._press.publishing.publish(made.directory, said)
        if self._charter.spec.release.alias and not made.reason:
            await release(self._press.publishing, self._charter.spec, version, said.tenant)
        return version

    def settle(self) -> None:
        """See Host."""
        self._keeping.settle()
