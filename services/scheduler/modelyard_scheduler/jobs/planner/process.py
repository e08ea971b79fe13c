"""Has datasets read by processes of their own, before a job begins: bounded in number, memory and time, free to die."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence

from modelyard import codec, process
from modelyard.catalogue import Signature
from modelyard.errors import TABLE, InvalidInputError, UnavailableError
from modelyard.jobs.found import Found
from modelyard.jobs.job import Job
from modelyard.jobs.planning import Plan
from modelyard_scheduler.jobs.planner.messages import Limits, Planned, Report, Wanted

log = logging.getLogger(__name__)

PARALLEL = 4
"""So many jobs are planned at a time; most take a moment, but files of text of many GiB take minutes."""
START_S = 60.0
IDLE_S = 300.0
"""A process that waits for a job is ended after this."""
DEFAULT_LIMITS = Limits()
COMMAND = (sys.executable, "-P", "-m", "modelyard_scheduler.jobs.planner")


class Planner:
    """Plans jobs. Between jobs it keeps a process that has all modules loaded: most of what a small job takes."""

    def __init__(
        self,
        registries: Callable[[], Iterable[str]],
        allowed: Sequence[str],
        environ: Mapping[str, str],
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        """Start nothing yet.

        Args:
            registries: those that are live now, host:port.
            allowed: prefixes of URLs that jobs may read.
            environ: what the processes get.
            limits: of each process.
        """
        self._registries = registries
        self._allowed = tuple(allowed)
        self._limits = limits
        self._slots = asyncio.Semaphore(PARALLEL)
        self._spare = Spare(environ)

    async def plan(self, job: Job, signature: Signature) -> tuple[Found, Plan]:
        """Open a job's dataset, bind and count it. The plan has no segments yet.

        What it stores, the index of text, is held for a day, as an upload that is called as the job is.

        Raises:
            UnavailableError: the registry, or the store of a URL, is away, or no process could be started; later again.
            ExhaustedError: the artifact store is full; later again.
            ModelyardError: the job cannot be done, with a message for its owner: InvalidInputError mostly, also for
                datasets that crash their reader, or hold it up, or take too much memory.
        """
        async with self._slots:
            wanted = Wanted(
                job.id,
                job.tenant,
                job.spec.inference,
                signature,
                tuple(self._registries()),
                self._allowed,
                self._limits,
            )
            child = await self._spare.take()
            try:
                planned = await _answer(child, wanted)
            finally:
                child.signal(signal.SIGKILL)
                self._spare.prepare()
                await child.wait()
        return planned.found, planned.plan

    async def aclose(self) -> None:
        """End the process that waits, if there is one: call it when nothing is planned any more."""
        await self._spare.aclose()


class Spare:
    """A process that is started before it is needed."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._starting: asyncio.Task[process.Child] | None = None
        self._ends: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def take(self) -> process.Child:
        """A process that is starting, or has started.

        Raises:
            UnavailableError: it cannot be started.
        """
        while (starting := self._withdraw()) is not None:
            child = await starting
            if child.returncode is None:
                return child
        return await self._started()

    def _withdraw(self) -> asyncio.Task[process.Child] | None:
        starting, self._starting = self._starting, None
        if self._ends is not None:
            self._ends.cancel()
        return starting

    async def _started(self) -> process.Child:
        try:
            return await process.start(COMMAND, self._environ, None, orders=True)
        except OSError as error:
            raise UnavailableError(f"a planning process could not be started: {error.strerror or error}") from error

    def prepare(self) -> None:
        """Start one for the next job, unless there is one."""
        if self._starting is None and not self._is_closed:
            self._starting = asyncio.ensure_future(self._started())
            self._ends = asyncio.get_running_loop().call_later(IDLE_S, self._dismiss)

    def _dismiss(self) -> None:
        if (starting := self._withdraw()) is not None:
            starting.add_done_callback(_kill)

    async def aclose(self) -> None:
        """End it, and start none any more."""
        self._is_closed = True
        if (starting := self._withdraw()) is not None:
            await asyncio.wait([starting])
            _kill(starting)
            if starting.exception() is None:
                await starting.result().wait()


def _kill(started: asyncio.Task[process.Child]) -> None:
    if not started.cancelled() and started.exception() is None:
        started.result().signal(signal.SIGKILL)


async def _answer(child: process.Child, wanted: Wanted) -> Planned:
    """What a process finds out."""
    await child.order(codec.encode(wanted))
    has_begun = False
    try:
        async for line in child.heard(START_S, wanted.limits.silence_s):
            report = codec.of_json(Report, line)
            has_begun = has_begun or report.state == "begun"
            if report.planned is not None:
                return report.planned
            _raise_failure(report, wanted.job)
    except process.SilentError:
        reason = f"there was no progress for {wanted.limits.silence_s:g} s"
    else:
        reason = _ended(await child.wait(), wanted.limits)
    if not has_begun:
        raise UnavailableError(f"the planning process did not begin: {reason}")
    log.warning("planning process ended", extra={"job": wanted.job, "reason": reason})
    raise InvalidInputError(f"the dataset could not be read: {reason}")


def _raise_failure(report: Report, job: str) -> None:
    if report.failed is not None:
        raise TABLE.get(report.failed.error, InvalidInputError)(report.failed.message)
    if report.broken is not None:
        broken = report.broken
        log.error("planning failed", extra={"job": job, "error": broken.error, "places": list(broken.places)})
        raise InvalidInputError(f"the dataset could not be read: its reader failed with {broken.error}")


def _ended(returncode: int, limits: Limits) -> str:
    if returncode == -signal.SIGXCPU:
        return f"that takes more than {limits.cpu_s} s of computing"
    ended = f"its reader ended with {process.describe_exit(returncode)}"
    return f"{ended}, as when memory runs out" if returncode == -signal.SIGKILL else ended
