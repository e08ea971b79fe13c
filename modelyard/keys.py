"""The etcd key map. Everything lies below /modelyard/v1/; values are JSON of the named class.

key                                 value                                  lease
models/{model}                      catalogue.Model                        no
models/{model}/versions/{version}   catalogue.Version                      no
models/{model}/aliases/{alias}      catalogue.Alias                        no
history/{model}/{alias}/{n}         catalogue.AliasChange; n: ten digits   no
requests/{model}/{id}               catalogue.Request                      no
counters/{model}                    catalogue.Counter                      no
holds/{owner}                       catalogue.Hold; an owner of many       no
                                    chunks has several: {owner}/{part}
search/fence                        nothing: its changes show how far a    no
                                    watch has come
collection/condemned                JSON list: first 16 hex digits of the  the collector's
                                    chunks that are being removed
collection/collector                deployment.Member                      the collector's
deployments/{model}@{version}       deployment.Deployment                  no
placements/{worker}/{model}@{v}     deployment.Placement                   no
workers/{worker}                    deployment.Worker                      the worker's
instances/{worker}/{model}@{v}      deployment.Instance                    the worker's
activity/{model}@{version}          deployment.Activity: an on-demand      no
                                    deployment is called
evictions/{model}@{version}         deployment.Eviction: why one is not    no
                                    loaded any more
refusals/{model}@{version}/{digest} nothing: inputs of that digest (32     its own, of
                                    hex digits) have killed two runners    60 s
jobs/{model}@{version}/{job}        deployment.Deployment: what the job    no
                                    wants loaded, beside what users have
                                    deployed; of a training job the model
                                    is ~{job}: its processes
regions/{name}                      deployment.Region                      no
settings/{log|trace}                JSON object of Triton's settings       no
members/{role}/{id}                 deployment.Member (registry,           the member's
                                    scheduler)
leader/scheduler                    deployment.Member                      the leader's
training/{job}/control              deployment.Member: the control         its own
                                    process of a training job
training/{job}/charter              jobs.gang.Charter: what its processes  no
                                    are told, until it has ended
training/{job}/report               jobs.training_progress.TrainingReport  no
training/{job}/formation            train.control.fence.Record: who        no
                                    trains
training/{job}/places               for how many ranks there are places    no
                                    on workers, where they share a model
epochs/offset                       what is added to its revision in what  no
                                    it writes to Redis; absent: 0
"""

from __future__ import annotations

PREFIX = "/modelyard/v1/"
MODELS = PREFIX + "models/"
HISTORY = PREFIX + "history/"
REQUESTS = PREFIX + "requests/"
COUNTERS = PREFIX + "counters/"
DEPLOYMENTS = PREFIX + "deployments/"
PLACEMENTS = PREFIX + "placements/"
WORKERS = PREFIX + "workers/"
INSTANCES = PREFIX + "instances/"
ACTIVITY = PREFIX + "activity/"
EVICTIONS = PREFIX + "evictions/"
REFUSALS = PREFIX + "refusals/"
REGIONS = PREFIX + "regions/"
SETTINGS = PREFIX + "settings/"
MEMBERS = PREFIX + "members/"
HOLDS = PREFIX + "holds/"
UPLOADS = "upload/"
"""How the owners of what uploads hold begin."""
JOBS = PREFIX + "jobs/"
GANGS = JOBS + "~"
"""Of what training jobs want: no model's name begins so."""
FENCE = PREFIX + "search/fence"
CONDEMNED = PREFIX + "collection/condemned"
COLLECTOR = PREFIX + "collection/collector"
LEADER = PREFIX + "leader/scheduler"
TRAINING = PREFIX + "training/"
EPOCH_OFFSET = PREFIX + "epochs/offset"


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


def history(model_name: str, alias_name: str = "") -> str:
    """The prefix of all changes of an alias, or of all aliases of a model."""
    return f"{HISTORY}{model_name}/" + (f"{alias_name}/" if alias_name else "")


def alias_change(model_name: str, alias_name: str, number: int) -> str:
    """Of one change of an alias."""
    return f"{history(model_name, alias_name)}{number:010d}"


def requests(model_name: str) -> str:
    """The prefix of all requests that created versions of a model."""
    return f"{REQUESTS}{model_name}/"


def request(model_name: str, request_id: str) -> str:
    """Of one request that created a version."""
    return f"{requests(model_name)}{request_id}"


def counter(model_name: str) -> str:
    """Of what has been given to the versions of a model."""
    return f"{COUNTERS}{model_name}"


def hold(owner: str) -> str:
    """Of one owner of chunks."""
    return f"{HOLDS}{owner}"


def checkpoints_owner(job_id: str) -> str:
    """Who holds the checkpoints of a training job."""
    return f"jobs/{job_id}/checkpoints"


def holds_checkpoints(owner: str) -> bool:
    """Whether that is what an owner of chunks holds: what is damaged of it is missed by nobody but that job."""
    begin, _, end = owner.partition("/")
    return begin == "jobs" and end.partition("/")[2] == "checkpoints"


def upload_owner(tenant: str, upload: str) -> str:
    """Who holds the chunks of an upload."""
    return f"{UPLOADS}{tenant}/{upload}"


def jobs(model_name: str, version_name: str = "") -> str:
    """The prefix of what jobs want loaded of a model, or of one version."""
    return f"{JOBS}{model_name}@" + (f"{version_name}/" if version_name else "")


def job(model_name: str, version_name: str, job_id: str) -> str:
    """Of what a job wants loaded."""
    return f"{jobs(model_name, version_name)}{job_id}"


def deployments(model_name: str) -> str:
    """The prefix of the desired state of all versions of a model."""
    return f"{DEPLOYMENTS}{model_name}@"


def deployment(model_name: str, version_name: str) -> str:
    """Of the desired state of one version."""
    return f"{deployments(model_name)}{version_name}"


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


def activities(model_name: str) -> str:
    """The prefix of the last uses of all versions of a model."""
    return f"{ACTIVITY}{model_name}@"


def activity(model_name: str, version_name: str) -> str:
    """Of the last use of an on-demand deployment."""
    return f"{activities(model_name)}{version_name}"


def evictions(model_name: str) -> str:
    """The prefix of why versions of a model were unloaded."""
    return f"{EVICTIONS}{model_name}@"


def eviction(model_name: str, version_name: str) -> str:
    """Of why an on-demand deployment was unloaded."""
    return f"{evictions(model_name)}{version_name}"


def refusal(model_version: str, digest: str) -> str:
    """Of inputs that a version, `model@version`, is not given."""
    return f"{REFUSALS}{model_version}/{digest}"


def region(name: str) -> str:
    """Of one registered shared-memory region."""
    return f"{REGIONS}{name}"


def settings(kind: str) -> str:
    """Of Triton's settings of one kind, `log` or `trace`."""
    return f"{SETTINGS}{kind}"


def training(job_id: str) -> str:
    """The prefix of all of a training job."""
    return f"{TRAINING}{job_id}/"


def training_charter(job_id: str) -> str:
    """Of what the processes of a training job are told."""
    return f"{training(job_id)}charter"


def training_report(job_id: str) -> str:
    """Of how a training job goes."""
    return f"{training(job_id)}report"


def training_places(job_id: str) -> str:
    """Of how many ranks of a training job are placed."""
    return f"{training(job_id)}places"


def training_control(job_id: str) -> str:
    """Of the control process of a training job."""
    return f"{TRAINING}{job_id}/control"


def training_formation(job_id: str) -> str:
    """Of who trains in a training job."""
    return f"{TRAINING}{job_id}/formation"
