"""The etcd key map. Everything lies below /modelyard/v1/; values are JSON of the named class.

key                                 value                                  lease
models/{model}                      catalogue.Model                        no
models/{model}/versions/{version}   catalogue.Version                      no
models/{model}/aliases/{alias}      catalogue.Alias                        no
deployments/{model}@{version}       deployment.Deployment                  no
placements/{worker}/{model}@{v}     deployment.Placement                   no
workers/{worker}                    deployment.Worker                      the worker's
instances/{worker}/{model}@{v}      deployment.Instance                    the worker's
members/{role}/{id}                 deployment.Member (registry,           the member's
                                    scheduler)
leader/scheduler                    deployment.Member                      the leader's
"""

from __future__ import annotations

PREFIX = "/modelyard/v1/"
MODELS = PREFIX + "models/"
DEPLOYMENTS = PREFIX + "deployments/"
PLACEMENTS = PREFIX + "placements/"
WORKERS = PREFIX + "workers/"
INSTANCES = PREFIX + "instances/"
MEMBERS = PREFIX + "members/"
LEADER = PREFIX + "leader/scheduler"


def model(name: str) -> str:
    """Of a model's own record."""
    return f"{MODELS}{name}"


def versions(model_name: str) -> str:
    """The prefix of all versions of a model."""
    return f"{MODELS}{model_name}/versions/"


def version(model_name: str, name: str) -> str:
    """Of one version."""
    return f"{versions(model_name)}{name}"


def aliases(model_name: str) -> str:
    """The prefix of all aliases of a model."""
    return f"{MODELS}{model_name}/aliases/"


def alias(model_name: str, name: str) -> str:
    """Of one alias."""
    return f"{aliases(model_name)}{name}"


def deployment(model_name: str, version_name: str) -> str:
    """Of the desired state of one version."""
    return f"{DEPLOYMENTS}{model_name}@{version_name}"


def worker(worker_id: str) -> str:
    """Of a live worker."""
    return f"{WORKERS}{worker_id}"


def placements(worker_id: str) -> str:
    """The prefix of what one worker shall run."""
    return f"{PLACEMENTS}{worker_id}/"


def placement(worker_id: str, model_name: str, version_name: str) -> str:
    """Of one decision of the leader."""
    return f"{placements(worker_id)}{model_name}@{version_name}"


def instance(worker_id: str, model_name: str, version_name: str) -> str:
    """Of one loaded copy."""
    return f"{INSTANCES}{worker_id}/{model_name}@{version_name}"


def members(role: str) -> str:
    """The prefix of the live replicas of a service."""
    return f"{MEMBERS}{role}/"


def member(role: str, member_id: str) -> str:
    """Of one live replica."""
    return f"{members(role)}{member_id}"
