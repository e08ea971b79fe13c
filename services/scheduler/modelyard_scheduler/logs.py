"""What processes on the workers printed, as their agents have it."""

from __future__ import annotations

from collections.abc import AsyncIterator

from modelyard.errors import DeadlineError, NotFoundError, UnavailableError
from modelyard.jobs.gang import control_of, ranks_of
from modelyard.names import ModelVersion
from modelyard_scheduler.peers import read_log
from modelyard_scheduler.state import State


class Logs:
    """Reads them; a worker that cannot be asked is said so."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def of_instance(self, worker_id: str, version: ModelVersion, tail_bytes: int) -> AsyncIterator[bytes]:
        """The end of what the runner of an instance printed."""
        try:
            async for data in self._read(worker_id, version, tail_bytes):
                yield data
        except NotFoundError as error:
            yield _note(error.message)

    async def of_job(self, job: str, tail_bytes: int) -> AsyncIterator[tuple[str, str, bytes]]:
        """The end of what each process of a training job printed: its worker, what it is, a part.

        Raises:
            NotFoundError: none of the live workers has anything of it.
        """
        found = False
        for name in (control_of(job), ranks_of(job)):
            for worker_id in sorted(self._state.workers.items):
                try:
                    async for data in self._read(worker_id, name, tail_bytes):
                        found = True
                        yield worker_id, name.version, data
                except NotFoundError:
                    continue  # no process of it was there
        if not found:
            raise NotFoundError(f"job {job}: none of its processes has printed anything on a worker that is live")

    async def _read(self, worker_id: str, version: ModelVersion, tail_bytes: int) -> AsyncIterator[bytes]:
        worker = self._state.workers.items.get(worker_id)
        if worker is None:
            yield _note("this worker is away")
            return
        try:
            async for data in read_log(worker.address, str(version), tail_bytes):
                yield data
        except (UnavailableError, DeadlineError) as error:
            yield _note(error.message)


def _note(text: str) -> bytes:
    return f"({text})\n".encode()
