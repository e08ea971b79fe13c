"""A rank of a job, from its charter to its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from modelyard.errors import PASSING, ModelyardError, UnimplementedError
from modelyard.rpc.publishing import Publishing
from modelyard.rpc.registry import BlockingSource
from modelyard.rpc.storing import Storing
from modelyard.train.checkpoint.artifacts import Site
from modelyard.train.control.messages import Envelope, Failed, Hello
from modelyard.train.elastic.driver import Driver
from modelyard.train.elastic.member import Member
from modelyard.train.elastic.orders import StoppedError
from modelyard.train.local import training
from modelyard_worker.trainer.checkpoints import Keeping
from modelyard_worker.trainer.code import recipe
from modelyard_worker.trainer.data import Opened, open_data
from modelyard_worker.trainer.host import JobHost, Press
from modelyard_worker.trainer.terms import agreement, options
from modelyard_worker.training.orders import Begin

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Connections:
    """What a rank reaches others by; the loop runs in another thread.

    Attributes:
        control: where the job's control process is now, host:port; empty: there is none.
    """

    source: BlockingSource
    storing: Storing
    publishing: Publishing
    loop: asyncio.AbstractEventLoop
    control: Callable[[], str]


class Rank:
    """One process's part in a job."""

    def __init__(self, begin: Begin, connections: Connections) -> None:
        self._begin = begin
        self._charter = begin.charter
        self._connections = connections

    def run(self) -> None:
        """Train until there is nothing left to be done, or the job is stopped.

        Raises:
            Exception: it failed; if that is the recipe's or the data's fault the control process was told.
        """
        try:
            driver = self._driver()
        except PASSING:
            raise
        except Exception as error:
            self._tell(error)
            raise
        try:
            ending = driver.run()
        except StoppedError as stopped:
            log.info("stopped", extra={"reason": stopped.reason})
        else:
            log.info("training has ended", extra={"ending": ending.value})

    def _driver(self) -> Driver:
        spec, connections = self._charter.spec, self._connections
        if spec.code.is_script:
            raise UnimplementedError(f"{spec.code.entry}: expected a recipe; scripts are not run yet")
        made = recipe(spec.code, Path(self._begin.directory))
        data = open_data(spec.data, spec.seed, connections.source)
        trains = training(made, data.train, data.validation, options(spec, len(data.train)), self._begin.device)
        member = self._member(data)
        keeping = Keeping(self._site(), spec.checkpoints, lambda saved: member.send(Envelope(saved=saved)))
        press = Press(connections.publishing, connections.loop, Path(self._begin.scratch) / "outcome")
        return Driver(member, trains, JobHost(self._charter, (trains, data), keeping, press), keeping)

    def _site(self) -> Site:
        scratch = Path(self._begin.scratch) / "checkpoints"
        connections = self._connections
        return Site(connections.source, connections.storing, connections.loop, scratch, self._charter.tenant)

    def _member(self, data: Opened | None) -> Member:
        charter = self._charter
        agreed = agreement(charter.spec, data.stamps if data else "")
        hello = Hello(charter.job, self._begin.member, charter.secret, self._begin.host, agreed)
        return Member(hello, self._connections.control)

    def _tell(self, error: Exception) -> None:
        """Tell the control process of a failure before training."""
        message = error.message if isinstance(error, ModelyardError) else f"{type(error).__name__}: {error}"
        member = self._member(None)
        member.start(lambda: -1)
        try:
            member.part(Envelope(failed=Failed(message, getattr(error, "traceback", ""))))
        finally:
            member.close()
