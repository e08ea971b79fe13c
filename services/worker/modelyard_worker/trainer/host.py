"""What a rank's driver asks of its process, answered with the registry's help."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from modelyard.errors import ModelyardError, PreconditionError
from modelyard.jobs.gang import Charter
from modelyard.rpc.publishing import Publishing
from modelyard.train.checkpoint.ranks import Ranks
from modelyard.train.control.messages import Saved
from modelyard.train.elastic.host import Host
from modelyard.train.loop import Ending
from modelyard.train.step import Training
from modelyard_worker.trainer.checkpoints import Keeping
from modelyard_worker.trainer.data import Opened
from modelyard_worker.trainer.exporting import Exporter
from modelyard_worker.trainer.outcome import Outcome, outcome, publication
from modelyard_worker.trainer.waiting import Waiting

log = logging.getLogger(__name__)
MAKING, SAVING = "its version is being made", "its last checkpoint is being saved"


@dataclass(frozen=True)
class Press:
    """How versions are made and published.

    Attributes:
        loop: the one that publishes, in another thread.
        scratch: a directory, made anew each time.
    """

    publishing: Publishing
    loop: asyncio.AbstractEventLoop
    scratch: Path
    exporter: Exporter
    waiting: Waiting


class JobHost(Host):
    """Of a rank whose checkpoints and versions go to the registry."""

    def __init__(self, charter: Charter, trains: tuple[Training, Opened], keeping: Keeping, press: Press) -> None:
        self._charter = charter
        self._training, self._data = trains
        self._keeping = keeping
        self._press = press
        self._made: Outcome | None = None
        self._version = ""

    def enter(self, rank: int, checkpoint: Saved | None) -> None:
        """See Host."""
        self._keeping.enter(rank, checkpoint)

    def share(self, ranks: Ranks) -> None:
        """See Host."""
        self._keeping.share(ranks)

    def complete(self) -> None:
        """See Host. A store that is away is waited for, as by what comes next."""
        self._press.waiting.through(SAVING, partial(self._keeping.complete, self._training.state))

    def restore(self, saved: Saved) -> None:
        """See Host."""
        self._keeping.restore(saved, self._training.state)

    @property
    def saves(self) -> bool:
        """See Host."""
        return self._keeping.due

    def conclude(self, ending: Ending) -> str:
        """Save what is trained, export it, and publish the version; once done it is not done again.

        Who is cancelled meanwhile, or loses all ranks, has a checkpoint of the end.

        Raises:
            PreconditionError: it cannot be published, now or ever; its state is saved as a checkpoint.
        """
        if not self._version:
            self._keeping.complete(self._training.state)
            self._version = self._published()
            log.info("published", extra={"version": self._version, "ending": ending.value})
        return self._version

    def _published(self) -> str:
        """What was trained for hours is not given up because a registry is away, or its disk full."""
        try:
            return self._press.waiting.through(MAKING, self._publish)
        except ModelyardError as error:
            raise self._unpublished(error) from error

    def _publish(self) -> str:
        press = self._press
        if self._made is None:
            self._made = outcome(self._charter, self._training, self._data, press.exporter, press.scratch)
        said = publication(self._charter, self._training, self._made)
        call = press.publishing.publish(self._made.directory, said)
        return asyncio.run_coroutine_threadsafe(call, press.loop).result().version

    def _unpublished(self, error: ModelyardError) -> PreconditionError:
        state = self._training.state
        what = f"checkpoint of step {state.position.step}"
        said = f"a {what} has the weights" if self._keeping.complete(state) else f"no {what} could be saved"
        return PreconditionError(f"{error.message}: nothing was published; {said}")

    def settle(self) -> None:
        """See Host."""
        self._keeping.settle()
