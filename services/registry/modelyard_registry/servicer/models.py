"""The methods on models."""

from __future__ import annotations

from modelyard.catalogue import Model
from modelyard.rpc import convert
from modelyard.rpc.interceptor import Context, tenant_of
from modelyard.v1 import registry_pb2 as pb
from modelyard_registry.catalogue.models import Models
from modelyard_registry.servicer.masks import changes
from modelyard_registry.servicer.pages import page_size

CHANGEABLE = ("description", "labels", "licence", "keep_last")


class ModelMethods:
    """Models."""

    def __init__(self, models: Models) -> None:
        self._models = models

    async def RegisterModel(self, request: pb.RegisterModelRequest, context: Context) -> pb.Model:
        """Create a model or change its description, labels and licence."""
        return convert.model_to_pb(await self._models.register(model_of(request, context)))

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.Model:
        """Return a model."""
        return convert.model_to_pb(await self._models.get(request.name))

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        """Return a page of models in name order."""
        limit = page_size(request.page_size)
        found = await self._models.page(
            request.name_prefix, request.page_token, limit + 1, deleted=request.show_deleted
        )
        token = found[limit - 1].name if len(found) > limit else ""
        return pb.ListModelsResponse(models=[convert.model_to_pb(m) for m in found[:limit]], next_page_token=token)

    async def UpdateModel(self, request: pb.UpdateModelRequest, context: Context) -> pb.Model:
        """Change what is said of a model."""
        values = changes(request.model, request.update_mask.paths, CHANGEABLE)
        return convert.model_to_pb(await self._models.update(request.model.name, values, request.model.etag))

    async def DeleteModel(self, request: pb.DeleteModelRequest, context: Context) -> pb.Model:
        """Delete a model that is neither deployed nor used by a job."""
        return convert.model_to_pb(await self._models.delete(request.name, request.etag, purge=request.purge))

    async def UndeleteModel(self, request: pb.UndeleteModelRequest, context: Context) -> pb.Model:
        """Bring a deleted model back."""
        return convert.model_to_pb(await self._models.undelete(request.name))


def model_of(request: pb.RegisterModelRequest, context: Context) -> Model:
    """The model that a request registers, which is its tenant's."""
    return Model(request.name, request.description, dict(request.labels), request.licence, tenant_of(context))
