"""The condition that what is to be loaded stays published: what is written under it cannot be of a deleted version."""

from __future__ import annotations

from modelyard import codec, keys
from modelyard.catalogue import Lifecycle, Model, Version
from modelyard.errors import PreconditionError
from modelyard.etcd import Compare, Etcd


async def published(etcd: Etcd, version: Version) -> list[Compare]:
    """Return the conditions that a version and its model stay as they are.

    Args:
        etcd: asked for the model.
        version: as the registry has told it.

    Raises:
        PreconditionError: the version or the model is deleted.
    """
    key = keys.model(version.model)
    found = await etcd.get(key)
    if found and codec.decode(Model, found.value).state is Lifecycle.DELETED:
        raise PreconditionError(f"model {version.model!r}: it is deleted; undelete it first")
    if version.state is Lifecycle.DELETED:
        raise PreconditionError(f"{version.model}@{version.version}: it is deleted; undelete it first")
    same_model = Compare(key, found.mod_revision if found else -1, "mod")
    return [same_model, Compare(keys.version(version.model, version.version), int(version.etag), "mod")]
