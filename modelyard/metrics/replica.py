"""The metrics of one service replica: of its own process and of its children."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import TracebackType
from typing import Self

from modelyard.metrics.endpoint import Endpoint
from modelyard.metrics.families import families_of
from modelyard.metrics.gathering import Gathering
from modelyard.metrics.journal import DIRECTORY, Journal
from modelyard.metrics.scratch import new_directory, root


class ReplicaMetrics:
    """Owns the directory of the journals, and the endpoint. A context manager: the directory goes with it."""

    def __init__(self, service: str, below: str | Path = "") -> None:
        """Begin with nothing counted.

        Args:
            service: "scheduler", "worker" or "registry".
            below: where directories of journals are made, best where the service keeps its state; empty: below the
                system's for temporary files, whose cleaner may remove them for some moments.

        Raises:
            OSError: that cannot be.
        """
        with new_directory(Path(below).resolve() if below else root()) as directory:
            self._directory = directory
            self.journal = Journal(directory)
        self.gathering = Gathering(directory, self.journal, families_of(service))
        self._endpoint = Endpoint(self.gathering)

    @property
    def environ(self) -> dict[str, str]:
        """What the children are to find in their environment."""
        return {DIRECTORY: str(self._directory)}

    async def serve(self, host: str, port: int) -> str:
        """Serve the page (port 0: any); return host:port as bound. Raise OSError if that cannot be."""
        return await self._endpoint.start(host, port)

    async def __aenter__(self) -> Self:
        """Return this."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop serving, forget everything."""
        await self._endpoint.close()
        self.journal.close()
        if self._directory.exists():
            shutil.rmtree(self._directory)
