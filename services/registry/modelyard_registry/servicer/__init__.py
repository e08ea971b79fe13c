"""modelyard.v1.Registry: convert, call, convert. A module holds the methods on one noun."""

from __future__ import annotations

from modelyard_registry.artifacts.collector import Collector
from modelyard_registry.artifacts.publisher import Publisher
from modelyard_registry.artifacts.store import ChunkStore
from modelyard_registry.artifacts.uploads import Uploads
from modelyard_registry.catalogue import Catalogue
from modelyard_registry.catalogue.comparisons import Comparisons
from modelyard_registry.search.discovery import Discovery
from modelyard_registry.search.feed import Feed
from modelyard_registry.servicer.aliases import AliasMethods
from modelyard_registry.servicer.artifacts import ArtifactMethods
from modelyard_registry.servicer.collection import CollectionMethods
from modelyard_registry.servicer.discovery import DiscoveryMethods
from modelyard_registry.servicer.models import ModelMethods
from modelyard_registry.servicer.versions import VersionMethods


class RegistryServicer(
    ModelMethods, VersionMethods, AliasMethods, DiscoveryMethods, ArtifactMethods, CollectionMethods
):
    """The registry over gRPC."""

    def __init__(
        self,
        catalogue: Catalogue,
        discovery: Discovery,
        feed: Feed,
        publisher: Publisher,
        store: ChunkStore,
        uploads: Uploads,
        collector: Collector,
    ) -> None:
        ModelMethods.__init__(self, catalogue.models)
        VersionMethods.__init__(self, catalogue.versions, publisher, Comparisons(catalogue.versions, store))
        AliasMethods.__init__(self, catalogue.aliases)
        DiscoveryMethods.__init__(self, discovery, feed)
        ArtifactMethods.__init__(self, store, uploads, catalogue.versions)
        CollectionMethods.__init__(self, collector)
