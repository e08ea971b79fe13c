"""What the tasks of a job have come to: what was stored when it ended, and what the queue has had since."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Protocol

from modelyard.catalogue import File
from modelyard.chunks import Chunk, chunks_of
from modelyard.codec import MalformedError, decode, encode
from modelyard.errors import DataLossError, NotFoundError
from modelyard.jobs.found import Stored
from modelyard.jobs.ledger import repeated
from modelyard.jobs.tasks import Outcome, TaskSpec
from modelyard.queue import JobQueue
from modelyard_scheduler.jobs.records import Held

PAGE = 500
"""Tasks that are asked for at a time."""


@dataclass
class Outcomes:
    """How the tasks of a job have ended, by their names.

    Attributes:
        done: those that have results, or parts that replace them.
        dead: those that were given up, and are not executed again.
        last: the number of the last that ended, by the queue.
        retries: attempts that had to be made again, of those that the queue has still.
        stored: how many of those that are done are in the artifact store.
    """

    done: dict[str, Outcome] = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)
    last: int = 0
    retries: int = 0
    stored: int = 0


class Source(Protocol):
    """Where stored bytes are read from: modelyard.rpc.registry.RegistrySource."""

    def pieces(self, chunks: Sequence[Chunk]) -> AsyncGenerator[bytes, None]:
        """The bytes of chunks in their order."""
        ...


async def outcomes_of(held: Held, queue: JobQueue, source: Source) -> Outcomes:
    """Everything that is known of a job's tasks now.

    Raises:
        NotFoundError: the job is forgotten.
        UnavailableError: Redis is away, or no registry can be reached.
        DataLossError: what was stored is gone, or is not what was stored.
    """
    found = Outcomes(await stored_outcomes(held.job.outcomes, source) if held.job.outcomes else {})
    found.stored = len(found.done)
    while page := await queue.ended(held.job.id, found.last, PAGE):
        for one in page:
            if one.status.state == "done" and one.status.task not in found.done:
                outcome = decode(Outcome, one.status.result)
                task, most = TaskSpec.parse(one.status.task), held.job.spec.max_attempts
                found.done[one.status.task] = outcome
                found.retries += repeated(task, one.status, outcome, most)
        found.last = page[-1].number
    await _read_dead(held.job.id, queue, found)
    return found


async def _read_dead(job: str, queue: JobQueue, found: Outcomes) -> None:
    """Those that were given up, by the list of dead letters: who is retried is not on it any more."""
    after = ""
    while page := await queue.dead_letters(job, after, PAGE):
        found.dead.update(letter.task for letter in page)
        found.retries += sum(max(letter.failures + letter.deaths - 1, 0) for letter in page)
        after = page[-1].letter
    found.dead -= found.done.keys()


def packed(done: dict[str, Outcome]) -> bytes:
    """Outcomes as they are stored."""
    return encode(done)


async def stored_outcomes(stored: Stored, source: Source) -> dict[str, Outcome]:
    """Read what `packed` has made.

    Raises:
        UnavailableError: no registry can be reached.
        DataLossError: it is gone, or it is not what was stored.
    """
    file = File("outcomes", stored.size_bytes, stored.chunks)
    parts = [await _chunk(chunk, source) for chunk in chunks_of(file)]
    try:
        return decode(dict[str, Outcome], b"".join(parts))
    except MalformedError as error:
        raise DataLossError(f"outcomes {stored.chunks[0]}: not understood: {error}") from error


async def _chunk(chunk: Chunk, source: Source) -> bytes:
    digest, parts = hashlib.sha256(), []
    try:
        async with aclosing(source.pieces([chunk])) as coming:
            async for part in coming:
                digest.update(part)
                parts.append(part)
    except NotFoundError as error:
        raise DataLossError(f"outcomes: chunk {chunk.digest} is not in the artifact store any more") from error
    if digest.hexdigest() != chunk.digest:
        raise DataLossError(f"outcomes: chunk {chunk.digest} arrived with another sha256")
    return b"".join(parts)
