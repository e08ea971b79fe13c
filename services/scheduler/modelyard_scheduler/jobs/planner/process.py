"""Has datasets read by processes of their own, before a job begins: bounded in number, memory and time, free to die."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence

from modelyard import codec, process
from modelyard.catalogue import Signature
from modelyard.errors import TABLE, InvalidInputError, ModelyardError, UnavailableError
from modelyard.jobs.found import Found
from modelyard.jobs.job import Job
from modelyard.jobs.planning import Plan
from modelyard_scheduler.jobs.planner.messages import Limits, Report, Wanted

log = logging.getLogger(__name__)

PARALLEL = 4
"""So many jobs are planned at a time; most take a moment, but files of text of many GiB take minutes."""
START_S = 60.0
IDLE_S = 300.0
"""A process that waits for a job is ended after this."""
DEFAULT_LIMITS = Limits()
_SINGLE = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
"""They fork: no library may have threads before."""
COMMAND = (sys.executable, "-P", "-m", "modelyard_scheduler.jobs.planner")


class Planner:
    """Plans jobs. Processes are kept between jobs: to load all modules is most of what a small job takes."""

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
        self._pool = Pool(environ)

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
            child = await self._pool.take()
            is_free = False
            try:
                outcome = await _answer(child, wanted)
                is_free = True
            finally:
                if is_free:
                    self._pool.give_back(child)
                else:
                    await _kill(child)
        if outcome.planned is None:
            raise _failure(outcome, job.id)
        return outcome.planned.found, outcome.planned.plan

    async def aclose(self) -> None:
        """End the processes that wait: call it when nothing is planned any more."""
        await self._pool.aclose()


class Pool:
    """Processes that wait for jobs, or are started when there is none."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = {**environ, **_SINGLE}
        self._waiting: dict[process.Child, asyncio.TimerHandle] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._is_closed = False

    async def take(self) -> process.Child:
        """A process that can take a job.

        Raises:
            UnavailableError: none can be started.
        """
        while self._waiting:
            child, ends = self._waiting.popitem()
            ends.cancel()
            if child.returncode is None:
                return child
        try:
            return await process.start(COMMAND, self._environ, None, orders=True)
        except OSError as error:
            raise UnavailableError(f"a planning process could not be started: {error.strerror or error}") from error

    def give_back(self, child: process.Child) -> None:
        """Keep it for the next job."""
        if self._is_closed:
            self._end(child)
        else:
            self._waiting[child] = asyncio.get_running_loop().call_later(IDLE_S, self._dismiss, child)

    def _dismiss(self, child: process.Child) -> None:
        del self._waiting[child]
        self._end(child)

    def _end(self, child: process.Child) -> None:
        ending = asyncio.ensure_future(_kill(child))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    async def aclose(self) -> None:
        """End those that wait, and keep none any more."""
        self._is_closed = True
        while self._waiting:
            child, ends = self._waiting.popitem()
            ends.cancel()
            self._end(child)
        await asyncio.gather(*self._ending)


async def _kill(child: process.Child) -> None:
    """End a process, and with it what it has forked."""
    child.signal(signal.SIGKILL)
    await child.wait()


async def _answer(child: process.Child, wanted: Wanted) -> Report:
    """What is found out about a job; the process can take another one then.

    Raises:
        UnavailableError: nothing was begun.
        InvalidInputError: what was begun has ended without a word.
    """
    await child.order(codec.encode(wanted))
    has_begun, found, reason = False, None, ""
    try:
        async for line in child.heard(START_S, wanted.limits.silence_s):
            report = codec.of_json(Report, line)
            has_begun = has_begun or report.state == "begun"
            found = report if report.planned or report.failed or report.broken else found
            if report.state == "ended" and found:
                return found
            if report.state == "ended":
                reason = _ended(report.status, wanted.limits)
                break
    except process.SilentError:
        reason = f"there was no progress for {wanted.limits.silence_s:g} s"
    reason = reason or _ended(await child.wait(), wanted.limits)
    if not has_begun:
        raise UnavailableError(f"the planning process did not begin: {reason}")
    log.warning("planning process ended", extra={"job": wanted.job, "reason": reason})
    raise InvalidInputError(f"the dataset could not be read: {reason}")


def _failure(report: Report, job: str) -> ModelyardError:
    if report.failed is not None:
        return TABLE.get(report.failed.error, InvalidInputError)(report.failed.message)
    error = report.broken.error if report.broken else ""
    places = list(report.broken.places) if report.broken else []
    log.error("planning failed", extra={"job": job, "error": error, "places": places})
    return InvalidInputError(f"the dataset could not be read: its reader failed with {error}")


def _ended(returncode: int, limits: Limits) -> str:
    if returncode == -signal.SIGXCPU:
        return f"that takes more than {limits.cpu_s} s of computing"
    ended = f"its reader ended with {process.describe_exit(returncode)}"
    return f"{ended}, as when memory runs out" if returncode == -signal.SIGKILL else ended
