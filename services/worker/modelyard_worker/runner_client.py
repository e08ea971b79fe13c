"""A runner, as its agent calls it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc.aio

from modelyard.catalogue import Signature
from modelyard.deployment import Placement
from modelyard.rpc import convert
from modelyard.rpc.channel import Stub, open_channel
from modelyard.rpc.status import error_of
from modelyard.v1 import runner_pb2 as pb

_SERVICE = pb.DESCRIPTOR.services_by_name["Runner"]


@dataclass(frozen=True)
class Loaded:
    """What a runner says of an instance that it has loaded.

    Attributes:
        execute_port: where it takes execute streams.
    """

    signature: Signature
    platform: str
    execute_port: int


@contextlib.asynccontextmanager
async def _stub(address: str) -> AsyncIterator[Stub]:
    async with open_channel(address, watchful=True) as channel:
        try:
            yield Stub(channel, _SERVICE)
        except grpc.aio.AioRpcError as failure:
            raise error_of(failure) from failure


async def load(address: str, placement: Placement, directory: Path, timeout_s: float) -> Loaded:
    """Load what is placed from the files in a directory; return when it answers calls.

    Raises:
        UnavailableError: the runner does not answer (any more).
        DeadlineError: it takes longer than that.
        ModelyardError: why it cannot be loaded.
    """
    request = pb.LoadRequest(
        instance=f"{placement.model}@{placement.version}",
        worker=placement.worker,
        format=placement.format,
        directory=str(directory),
        options=convert.options_to_pb(placement.options),
    )
    async with _stub(address) as stub:
        response = await stub.Load(request, timeout=timeout_s)
    return Loaded(convert.signature_from_pb(response.signature), response.platform, response.execute_port)


async def unload(address: str, instance: str, timeout_s: float) -> None:
    """Have a runner finish the calls of an instance ("model@version"), then give its memory back.

    Raises:
        NotFoundError: it does not hold it.
        UnavailableError: it does not answer.
        DeadlineError: it takes longer than that.
    """
    async with _stub(address) as stub:
        await stub.Unload(pb.UnloadRequest(instance=instance), timeout=timeout_s)
