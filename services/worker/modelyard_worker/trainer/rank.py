"""A rank of a job, from its charter to its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from modelyard.jobs.checkpoints import uploads_of
from modelyard.rpc.publishing import Publication, Publishing
from modelyard.rpc.registry import BlockingSource
from modelyard.rpc.storing import Storing
from modelyard.train.checkpoint.artifacts import Site
from modelyard.train.control.messages import Envelope, Hello, Saved, Unsaved
from modelyard.train.elastic.driver import Driver
from modelyard.train.elastic.failures import failed, passes
from modelyard.train.elastic.member import Member
from modelyard.train.elastic.orders import StoppedError
from modelyard.train.elastic.watch import BEFORE
from modelyard.train.local import training
from modelyard.train.step import Training
from modelyard_worker.trainer.checkpoints import Keeping
from modelyard_worker.trainer.code import recipe
from modelyard_worker.trainer.data import Opened, open_data
from modelyard_worker.trainer.exporting import Exporter
from modelyard_worker.trainer.failing import tell
from modelyard_worker.trainer.host import MAKING, JobHost, Press
from modelyard_worker.trainer.preparation import watched
from modelyard_worker.trainer.script.driver import ScriptDriver
from modelyard_worker.trainer.script.keeping import ScriptKeeping
from modelyard_worker.trainer.script.outcome import Outcome
from modelyard_worker.trainer.script.terms import terms
from modelyard_worker.trainer.terms import agreement, cadence, options, take_cores
from modelyard_worker.trainer.waiting import Waiting
from modelyard_worker.training.orders import Begin

if TYPE_CHECKING:
    from modelyard.train.parallel.driver import ReplicaDriver

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
        self._script: ScriptDriver | None = None

    def run(self) -> None:
        """Train until there is nothing left to be done, or the job is stopped.

        Raises:
            RestartError: another process is to be started in its place.
            Exception: it failed; if that is the recipe's or the data's fault the control process was told.
        """
        try:
            driver = self._driver()
        except Exception as error:
            if not passes(error):
                self._tell(error)
            raise
        try:
            ending = driver.run()
        except StoppedError as stopped:
            log.info("stopped", extra={"reason": stopped.reason})
        else:
            log.info("training has ended", extra={"ending": ending.value})

    def terminate(self) -> None:
        """This process is to end: return when the script has, within some seconds. What a recipe does is dropped."""
        if self._script is not None:
            self._script.terminate()

    def _driver(self) -> Driver | ReplicaDriver | ScriptDriver:
        spec, connections = self._charter.spec, self._connections
        if spec.code.is_script:
            self._script = self._script_driver()
            return self._script
        take_cores(spec.resources)
        with watched("import", spec.stall_s, self._tell):
            made = recipe(spec.code, Path(self._begin.directory))
        data = open_data(spec.data, spec.seed, connections.source)
        said = options(spec, len(data.train))
        member = self._member(data)
        keeping = Keeping(self._site(), cadence(spec), partial(_tell_of, member))
        exporter = Exporter(Path(self._begin.directory), connections.loop)
        scratch, waiting = Path(self._begin.scratch) / "outcome", Waiting(member.waits)
        press = Press(connections.publishing, connections.loop, scratch, exporter, waiting)

        def host(trains: Training) -> JobHost:
            return JobHost(self._charter, (trains, data), keeping, press)

        if spec.parallelism.replica > 1:
            from modelyard_worker.trainer import shared  # noqa: PLC0415 (it takes seconds, and few jobs need it)

            return shared.driver(self._begin, member, (made, data, said), host, keeping)
        with watched(BEFORE, spec.stall_s, self._tell, lambda: data.train.reads):
            trains = training(made, data.train, data.validation, said, self._begin.device)
        return Driver(member, trains, host(trains), keeping)

    def _script_driver(self) -> ScriptDriver:
        found = terms(self._begin, self._connections.source)
        member = self._member(None)
        waiting = Waiting(member.waits)

        def publish(directory: Path, said: Publication) -> str:
            return waiting.through(MAKING, partial(self._publish, directory, said))

        outcome = Outcome(self._charter, found.folder.output, found.scratch / "outcome", publish)
        code, saves = Path(self._begin.directory), self._charter.spec.checkpoints
        keeping = ScriptKeeping(self._site(), found.folder, code, saves, partial(_tell_of, member))
        return ScriptDriver(member, found, outcome, keeping)

    def _publish(self, directory: Path, said: Publication) -> str:
        call = self._connections.publishing.publish(directory, said)
        return asyncio.run_coroutine_threadsafe(call, self._connections.loop).result().version

    def _site(self) -> Site:
        scratch = Path(self._begin.scratch) / "checkpoints"
        connections = self._connections
        storing, charter = connections.storing, self._charter
        return Site(connections.source, storing, connections.loop, scratch, charter.tenant, uploads_of(charter.job))

    def _member(self, data: Opened | None) -> Member:
        charter = self._charter
        agreed = agreement(charter.spec, data.stamps if data else "")
        hello = Hello(charter.job, self._begin.member, charter.secret, self._begin.host, agreed)
        return Member(hello, self._connections.control)

    def _tell(self, error: Exception) -> None:
        """Tell the control process of a failure before training."""
        tell(self._begin, failed(error), self._connections.control)


def _tell_of(member: Member, report: Saved | Unsaved) -> None:
    """Tell the control process what became of a checkpoint, in whatever thread."""
    if isinstance(report, Saved):
        member.saved(report)
    else:
        member.send(Envelope(unsaved=report))
