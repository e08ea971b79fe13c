"""How a worker joins: its data directory, its lease, its name."""

from __future__ import annotations

import asyncio
import fcntl
import logging
from pathlib import Path
from typing import IO

from modelyard import codec, keys
from modelyard.backoff import Backoff
from modelyard.deployment import Worker
from modelyard.errors import PASSING
from modelyard.etcd import Etcd
from modelyard.session import Session

_log = logging.getLogger(__name__)


def lock(data_dir: Path) -> IO[str]:
    """Take the data directory for this process; raise OSError if another worker holds it."""
    data_dir.mkdir(parents=True, exist_ok=True)
    file = (data_dir / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise OSError(f"data directory {data_dir}: another worker holds it") from error
    return file


async def open_session(session: Session, etcd: Etcd, data_dir: Path) -> None:
    """Start the session after revoking the lease that an earlier process of this worker left behind."""
    record = data_dir / "lease"

    async def remember(lease_id: int) -> None:
        scratch = record.with_suffix(".new")
        scratch.write_text(str(lease_id))
        scratch.replace(record)

    session.on_lease = remember
    backoff = Backoff(0.2, 2.0)
    while True:
        try:
            if record.exists() and (left := record.read_text()).isdecimal():
                await etcd.revoke(int(left))
            await session.start()
        except PASSING as error:
            _log.warning("waiting for a lease", extra={"reason": str(error)})
            await asyncio.sleep(backoff.next())
        else:
            return


async def announce(session: Session, worker: Worker) -> None:
    """Announce the worker; while another process bears its name, or etcd is away, say so and wait."""
    backoff = Backoff(0.2, 5.0)
    while True:
        try:
            if await session.claim(keys.worker(worker.id), codec.encode(worker)):
                return
            reason = "another process bears it"
        except PASSING as error:
            reason = str(error)
        _log.warning("waiting for this worker's name", extra={"worker": worker.id, "reason": reason})
        await asyncio.sleep(backoff.next())
