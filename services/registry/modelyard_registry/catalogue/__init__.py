"""The catalogue on etcd: models, versions and aliases.

Every change is one transaction that holds only if what it was decided on is unchanged; who loses a race decides anew. A
name is a version's or an alias's, never both. What is DELETED keeps its key until it is purged, so that it can be
brought back; it can be read by its name, and nothing else can be done with it.
"""

from __future__ import annotations

from modelyard.etcd import Etcd
from modelyard_registry.catalogue.aliases import Aliases
from modelyard_registry.catalogue.models import Models
from modelyard_registry.catalogue.publications import Publications
from modelyard_registry.catalogue.retention import Retention
from modelyard_registry.catalogue.versions import Versions


class Catalogue:
    """Models, versions and aliases."""

    def __init__(self, etcd: Etcd, grace_s: float) -> None:
        """`grace_s`: how long what is deleted can be brought back."""
        retention = Retention(etcd, grace_s)
        self.models = Models(etcd, retention, grace_s)
        self.versions = Versions(etcd, grace_s)
        self.publications = Publications(etcd, retention)
        self.aliases = Aliases(etcd)
