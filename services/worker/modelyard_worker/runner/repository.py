"""Triton's model repository at a runner: what it holds. Its agent loads and unloads, as the front door decides."""

from __future__ import annotations

from modelyard.errors import PreconditionError
from modelyard.oip import messages
from modelyard.oip.repository import check_repository, wanted_to_load, wanted_to_unload
from modelyard_worker.runner.models import Models

ModelIndex = messages.RepositoryIndexResponse.ModelIndex


def index(models: Models, request: messages.RepositoryIndexRequest) -> messages.RepositoryIndexResponse:
    """List the versions that are held, READY or LOADING; only the former where that is asked for.

    Raises:
        UnimplementedError: a repository is named; there is one only.
    """
    check_repository(request.repository_name)
    states = {v: "READY" if answers else "LOADING" for v, answers in models.states().items()}
    found = [(v, state) for v, state in sorted(states.items()) if state == "READY" or not request.ready]
    return messages.RepositoryIndexResponse(
        models=[ModelIndex(name=v.model, version=v.version, state=state) for v, state in found]
    )


def load(models: Models, request: messages.RepositoryModelLoadRequest) -> messages.RepositoryModelLoadResponse:
    """Return if the model answers calls here.

    Raises:
        PreconditionError: it does not; the message says where to ask for it.
        InvalidInputError: no model is named, or a parameter is not known. (Others as `index`.)
    """
    model, version = wanted_to_load(request)
    if not is_held(models, model, version):
        raise _refused(model, version, "loaded")
    return messages.RepositoryModelLoadResponse()


def unload(models: Models, request: messages.RepositoryModelUnloadRequest) -> messages.RepositoryModelUnloadResponse:
    """Return if the model does not answer calls here; raises as `load` if it does."""
    model, version = wanted_to_unload(request)
    if is_held(models, model, version):
        raise _refused(model, version, "unloaded")
    return messages.RepositoryModelUnloadResponse()


def is_held(models: Models, model: str, version: str = "") -> bool:
    """Whether a version, or any of the model where none is named, answers calls here."""
    return any(m.instance.model == model and version in ("", m.instance.version) for m in models.loaded())


def _refused(model: str, version: str, what: str) -> PreconditionError:
    name = f"{model}@{version}" if version else model
    return PreconditionError(f"model {name!a:.200}: a runner does not decide what is {what} on it, ask the front door")
