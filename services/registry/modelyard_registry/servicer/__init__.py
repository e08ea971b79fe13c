"""modelyard.v1.Registry: convert, call, convert. A module holds the methods on one noun."""

from __future__ import annotations

from modelyard_registry.artifacts.publisher import Publisher
from modelyard_registry.artifacts.store import ChunkStore
from modelyard_registry.search.discovery import Discovery
from modelyard_registry.service import Catalogue
from modelyard_registry.servicer.aliases import AliasMethods
from modelyard_registry.servicer.artifacts import ArtifactMethods
from modelyard_registry.servicer.discovery import DiscoveryMethods
from modelyard_registry.servicer.models import ModelMethods
from modelyard_registry.servicer.versions import VersionMethods


class RegistryServicer(ModelMethods, VersionMethods, AliasMethods, DiscoveryMethods, ArtifactMethods):
    """The registry over gRPC."""

    def __init__(self, catalogue: Catalogue, discovery: Discovery, publisher: Publisher, store: ChunkStore) -> None:
        ModelMethods.__init__(self, catalogue)
        VersionMethods.__init__(self, catalogue, publisher)
        DiscoveryMethods.__init__(self, discovery)
        ArtifactMethods.__init__(self, store)
