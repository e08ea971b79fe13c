"""The methods on models."""

from __future__ import annotations

from modelyard.catalogue import Model
from modelyard.rpc import convert
from modelyard.rpc.interceptor import Context, tenant_of
from modelyard.v1 import registry_pb2 as pb
from modelyard_registry.service import Catalogue
from modelyard_registry.servicer.pages import page_size


class ModelMethods:
    """Models."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    async def RegisterModel(self, request: pb.RegisterModelRequest, context: Context) -> pb.Model:
        """Create a model or change its description, labels and licence."""
        model = Model(request.name, request.description, dict(request.labels), request.licence, tenant_of(context))
        return convert.model_to_pb(await self._catalogue.register(model))

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.Model:
        """Return a model."""
        return convert.model_to_pb(await self._catalogue.model(request.name))

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        """Return a page of models in name order."""
        limit = page_size(request.page_size)
        found = await self._catalogue.models(request.name_prefix, request.page_token, limit + 1)
        token = found[limit - 1].name if len(found) > limit else ""
        return pb.ListModelsResponse(models=[convert.model_to_pb(m) for m in found[:limit]], next_page_token=token)

    async def DeleteModel(self, request: pb.DeleteModelRequest, context: Context) -> pb.Model:
        """Delete a model that is not deployed."""
        found = await self._catalogue.model(request.name)
        await self._catalogue.delete_model(request.name)
        return convert.model_to_pb(found)
