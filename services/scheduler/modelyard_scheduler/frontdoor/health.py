"""grpc.health.v1 at the front door: what is deployed, by name, and the services behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from modelyard.names import ModelVersion
from modelyard.rpc.health import Health
from modelyard_scheduler.frontdoor.table import RoutingTable


class FrontDoorHealth:
    """Answers for `model@version`, for `model` (any version of it), and for the services that are relayed.

    A model serves while one of its instances has a stream. The front door itself serves as soon as its table was filled
    once, whatever is away: it goes on with what it knows. A model of the name of a service has no answer of its own.
    """

    def __init__(self, table: RoutingTable, health: Health, relayed: Mapping[str, Callable[[], bool]]) -> None:
        """To be made when `health` answers for the server's own services.

        `relayed`: whether a replica of a service is live, by the service's full name.
        """
        self._table = table
        self._health = health
        self._relayed = relayed
        self._services = health.names | relayed.keys()
        self._models: set[str] = set()

    async def run(self) -> None:
        """Follow the table, until cancelled."""
        while True:
            self.update()
            await self._table.changed()

    def update(self) -> None:
        """Answer as it is now."""
        serving = self._serving()
        for name in self._models - serving.keys():
            self._health.remove(name)
        self._models = set(serving)
        for name, is_serving in serving.items():
            self._health.set(name, is_serving)
        for service, is_live in self._relayed.items():
            self._health.set(service, is_live())

    def _serving(self) -> dict[str, bool]:
        serving: dict[str, bool] = {}
        for name, deployment in self._table.deployments.items.items():
            version = ModelVersion(deployment.model, deployment.version)
            answers = any(stream.connected for stream in self._table.streams(version))
            serving[name] = answers
            serving[deployment.model] = serving.get(deployment.model, False) or answers
        return {name: answers for name, answers in serving.items() if name not in self._services}
