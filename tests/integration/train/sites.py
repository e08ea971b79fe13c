"""Where checkpoints of tests are stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from modelyard.jobs.checkpoints import uploads_of
from modelyard.rpc.registry import BlockingSource, RegistrySource
from modelyard.rpc.storing import Storing
from modelyard.train.checkpoint.artifacts import Site

JOB, TENANT = "job-1", "acme"
PATIENCE_S = 0.2


@asynccontextmanager
async def site_of(addresses: Callable[[], list[str]], scratch: Path) -> AsyncIterator[Site]:
    """A registry at these addresses, which is soon given up if it is away."""
    source, storing = RegistrySource(addresses), Storing(addresses, PATIENCE_S)
    loop = asyncio.get_running_loop()
    yield Site(BlockingSource(source, loop, PATIENCE_S), storing, loop, scratch, TENANT, uploads_of(JOB))
    await source.close()
    await storing.close()
