"""Models: the registry's calls on them."""

from __future__ import annotations

from collections.abc import Mapping

from modelyard.catalogue import Model
from modelyard.rpc import convert
from modelyard.rpc.build import build
from modelyard.sdk.connection import Calls
from modelyard.sdk.masks import mask_of
from modelyard.sdk.pages import pages
from modelyard.sdk.references import model_of
from modelyard.v1 import registry_pb2 as pb


class ModelCalls(Calls):
    """What is registered. A `name` is that of a model: InvalidInputError if it names a version too."""

    async def register_model(
        self,
        name: str,
        *,
        description: str = "",
        labels: Mapping[str, str] | None = None,
        licence: str = "",
        keep_last: int | None = None,
    ) -> Model:
        """Create a model, or replace the description, labels and licence of an existing one.

        Args:
            name: letters, digits, `.`, `_` and `-`.
            description: what it is.
            labels: what it can be found by.
            licence: under which it may be used.
            keep_last: how many of its versions are kept, in a second call; 0: all; None: as it is.

        Raises:
            InvalidInputError: the name or the metadata is malformed.
            PreconditionError: the model is DELETED.
        """
        request = build(
            pb.RegisterModelRequest,
            name=model_of(name),
            description=description,
            labels=labels,
            licence=licence,
        )
        answer = await self._connection.call(self._connection.registry.RegisterModel, request)
        if keep_last is not None and keep_last != answer.keep_last:
            return await self.update_model(name, keep_last=keep_last)
        return convert.model_from_pb(answer)

    async def update_model(
        self,
        name: str,
        *,
        description: str | None = None,
        labels: Mapping[str, str] | None = None,
        licence: str | None = None,
        keep_last: int | None = None,
        etag: str = "",
    ) -> Model:
        """Change what is said of a model; what is None stays as it is.

        Args:
            name: the model.
            description: what it is.
            labels: all of them: others are removed.
            licence: under which it may be used.
            keep_last: how many of its versions are kept; 0: all.
            etag: the model's when it was read: nothing is changed if it has changed since.

        Raises:
            InvalidInputError: nothing is to be changed, or a value is malformed.
            NotFoundError: there is no such model.
            AbortedError: the etag is no longer the model's.
            PreconditionError: the model is DELETED.
        """
        model = build(
            pb.Model,
            name=model_of(name),
            description=description or "",
            labels=labels,
            licence=licence or "",
            keep_last=keep_last or 0,
            etag=etag,
        )
        mask = mask_of(description=description, labels=labels, licence=licence, keep_last=keep_last)
        request = pb.UpdateModelRequest(model=model, update_mask=mask)
        # With an etag, a second attempt after a lost answer would find the etag changed by the first.
        method = self._connection.registry.UpdateModel
        return convert.model_from_pb(await self._connection.call(method, request, retry=not etag))

    async def model(self, name: str) -> Model:
        """Return a model with its aliases and newest version; raise NotFoundError if there is none."""
        request = pb.GetModelRequest(name=model_of(name))
        return convert.model_from_pb(await self._connection.call(self._connection.registry.GetModel, request))

    async def models(self, prefix: str = "", *, show_deleted: bool = False) -> list[Model]:
        """Return all models whose names begin with the prefix, in name order; DELETED ones only where asked for."""
        request = build(pb.ListModelsRequest, name_prefix=prefix, show_deleted=show_deleted)
        found = pages(self._connection, self._connection.registry.ListModels, request)
        return [convert.model_from_pb(model) async for page in found for model in page.models]

    async def delete_model(self, name: str, *, purge: bool = False, etag: str = "") -> Model:
        """Delete a model with all its versions and aliases; until its `expire_time_s`, `undelete_model` brings it back.

        Args:
            name: the model.
            purge: for good, without that grace period; a model that is DELETED already, too.
            etag: the model's when it was read: it is not deleted if it has changed since.

        Raises:
            NotFoundError: there is none.
            PreconditionError: a version of it is deployed.
            AbortedError: the etag is no longer the model's.
        """
        request = build(pb.DeleteModelRequest, name=model_of(name), purge=purge, etag=etag)
        method = self._connection.registry.DeleteModel
        return convert.model_from_pb(await self._connection.call(method, request, retry=False))

    async def undelete_model(self, name: str) -> Model:
        """Bring a DELETED model back with its versions and aliases; one that is not DELETED is returned as it is.

        Raises:
            NotFoundError: there is none: it may have been purged.
        """
        request = pb.UndeleteModelRequest(name=model_of(name))
        method = self._connection.registry.UndeleteModel
        return convert.model_from_pb(await self._connection.call(method, request))
