"""What requests of Triton's model repository extension say, the same at every server of the protocol.

It is described in Triton's docs/protocol/extension_model_repository.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from modelyard.errors import InvalidInputError, UnimplementedError
from modelyard.oip import messages
from modelyard.oip.parameters import read_text


class Wanted(NamedTuple):
    """What a request to load or unload names; without a version the newest is loaded, and all are unloaded."""

    model: str
    version: str


def wanted_to_load(request: messages.RepositoryModelLoadRequest) -> Wanted:
    """What is to be loaded.

    Raises:
        InvalidInputError: no model is named, or a parameter is not known.
        UnimplementedError: a repository is named; there is one only.
    """
    return _wanted(request.repository_name, request.model_name, request.parameters, ("version",))


def wanted_to_unload(request: messages.RepositoryModelUnloadRequest) -> Wanted:
    """What is to be unloaded; raises as `wanted_to_load`."""
    return _wanted(request.repository_name, request.model_name, request.parameters, ("version", "unload_dependents"))


def check_repository(name: str) -> None:
    """Raise UnimplementedError if a repository is named."""
    if name:
        raise UnimplementedError(f"repository_name {name!a:.100}: expected none, there is one repository")


def _wanted(
    repository: str, model: str, parameters: Mapping[str, messages.ModelRepositoryParameter], known: tuple[str, ...]
) -> Wanted:
    """What is named. KServe's message has the model's name where Triton's has that of the repository."""
    if model:
        check_repository(repository)
    for name in parameters:
        if name not in known:
            raise InvalidInputError(f"parameter {name!a:.100}: expected one of {', '.join(known)}")
    version = read_text(parameters, "version")
    if not (model or repository):
        raise InvalidInputError("model_name: expected the name of a model, got an empty string")
    return Wanted(model or repository, version)
