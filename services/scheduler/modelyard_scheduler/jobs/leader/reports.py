"""What the control processes of training jobs report, heard at once: their jobs are looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from modelyard import keys
from modelyard.etcd import Etcd, Mirror

_REPORT = "/report"


class Reports:
    """Wakes jobs that something was reported of."""

    def __init__(self, etcd: Etcd, wake: Callable[[Iterable[str]], None]) -> None:
        self._wake = wake
        self._seen: dict[str, int] = {}
        self._mirror = Mirror(etcd, keys.TRAINING, bytes, self._note)

    async def run(self) -> None:
        """Do so until cancelled."""
        await self._mirror.run()

    def _note(self) -> None:
        found = {name: revision for name, revision in self._mirror.revisions.items() if name.endswith(_REPORT)}
        new = [name.removesuffix(_REPORT) for name, revision in found.items() if self._seen.get(name) != revision]
        self._seen = found
        if new:
            self._wake(new)
