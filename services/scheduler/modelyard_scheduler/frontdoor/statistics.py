"""Statistics of the models, which the runners keep: asked for when they are wanted, and summed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import grpc
import grpc.aio

from modelyard.names import ModelVersion
from modelyard.oip import messages
from modelyard.oip.statistics import summed
from modelyard.rpc.status import error_of
from modelyard_scheduler.frontdoor.stream import ExecuteStream
from modelyard_scheduler.frontdoor.table import RoutingTable

TIMEOUT_S = 5.0


class Statistics:
    """Counts and durations since the runners of now have loaded the models."""

    def __init__(self, table: RoutingTable) -> None:
        self._table = table

    async def of(self, versions: Sequence[ModelVersion]) -> messages.ModelStatisticsResponse:
        """Return the statistics of versions, each summed over its instances.

        Raises:
            ModelyardError: what a runner answered. One that is gone has taken its statistics with it.
        """
        found = await asyncio.gather(*(self._of(version) for version in versions))
        return messages.ModelStatisticsResponse(model_stats=found)

    async def _of(self, version: ModelVersion) -> messages.ModelStatistics:
        connected = [s for s in self._table.streams(version) if s.connected]
        answers = await asyncio.gather(*(_ask(stream, version) for stream in connected))
        return summed(version.model, version.version, [part for answer in answers for part in answer])


async def _ask(stream: ExecuteStream, version: ModelVersion) -> Sequence[messages.ModelStatistics]:
    request = messages.ModelStatisticsRequest(name=version.model, version=version.version)
    try:
        answer = await stream.inference.ModelStatistics(request, timeout=TIMEOUT_S)
    except grpc.aio.AioRpcError as failure:
        if failure.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.NOT_FOUND}:
            return []
        raise error_of(failure) from failure
    found: Sequence[messages.ModelStatistics] = answer.model_stats
    return found
