"""Records of the catalogue as they come from a watch: with their etag, and without those that nobody can read."""

from __future__ import annotations

import dataclasses
from functools import partial

from modelyard import codec
from modelyard.etcd import KeyValue
from modelyard_registry.search.families import Address, Record


def read_record(place: Address, kv: KeyValue) -> Record | None:
    """Return the record at a place; None, with a line in the log, if it is not understood: it harms no other."""
    record: Record | None = codec.understood(partial(codec.decode, place.kind), kv.key, kv.value)
    return record and dataclasses.replace(record, etag=str(kv.mod_revision))
