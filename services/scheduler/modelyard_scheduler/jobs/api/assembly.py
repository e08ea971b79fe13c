"""The Jobs API, put together."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from functools import partial

from modelyard.queue import TaskQueue
from modelyard.rpc.registry import BlockingSource, RegistrySource
from modelyard.rpc.replicas import Replicas
from modelyard.rpc.storing import Storing
from modelyard_scheduler.jobs.api.dead_letters import DeadLetters
from modelyard_scheduler.jobs.api.registry import LiveRegistry
from modelyard_scheduler.jobs.api.results import Results
from modelyard_scheduler.jobs.api.service import Jobs
from modelyard_scheduler.jobs.api.servicer import JobsServicer, Services
from modelyard_scheduler.jobs.api.submission import Submission
from modelyard_scheduler.jobs.api.watching import Watching
from modelyard_scheduler.jobs.outcomes import outcomes_of
from modelyard_scheduler.jobs.records import Records

PATIENCE_S = 5.0
"""So long a call waits for a registry that is away; then its client repeats it."""


@contextlib.asynccontextmanager
async def jobs_api(
    queue: TaskQueue, records: Records, registries: Replicas, allowed: Sequence[str]
) -> AsyncIterator[JobsServicer]:
    """The servicer of modelyard.v1.Jobs; end the scope when the server has stopped.

    Args:
        queue: of the tasks.
        records: of the jobs.
        registries: that are live now.
        allowed: prefixes of URLs that jobs may read datasets from.
    """
    source, storing = RegistrySource(registries.addresses), Storing(registries.addresses, PATIENCE_S)
    fetch = BlockingSource(source, asyncio.get_running_loop(), PATIENCE_S).fetch
    results = Results(records, partial(outcomes_of, queue=queue, source=source), fetch)
    watching = Watching(queue, records, time.time)
    submission = Submission(records, LiveRegistry(registries, storing), allowed, time.time)
    jobs, letters = Jobs(queue, records, time.time), DeadLetters(queue, records, time.time)
    try:
        yield JobsServicer(Services(submission, jobs, watching, letters, results))
    finally:
        await watching.close()
        results.close()
        await storing.close()
        await source.close()
