"""Changes of the catalogue, as a watch tells them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from modelyard.catalogue import Alias, Model, Version


class EventKind(StrEnum):
    """What an event says."""

    PUT = "PUT"
    DELETE = "DELETE"
    SYNCED = "SYNCED"
    """All that was there has been told; what follows are changes."""
    RESET = "RESET"
    """History is gone: forget everything, what is there is told anew."""


@dataclass(frozen=True)
class CatalogueEvent:
    """One change, of one resource of a model; of a DELETE the resource has only its names.

    A watch that ends after it goes on from its `revision`: the changes of one transaction have the same etcd revision,
    and what is told before SYNCED has 0, for it comes in no order of time.
    """

    kind: EventKind
    revision: int
    model: str = ""
    resource: Model | Version | Alias | None = None
