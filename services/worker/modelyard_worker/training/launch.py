"""How the processes of a training job are started: what they are told by command line, environment and first order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from modelyard import codec
from modelyard.config import PREFIX
from modelyard.jobs.gang import Charter
from modelyard.jobs.training import TrainingSpec
from modelyard.train.control.messages import Stop
from modelyard_worker.training.orders import Begin, Order

SECRET = "MODELYARD_SECRET"  # noqa: S105 (the name of a variable)
STORES = ("AWS_", "AZURE_", "GOOGLE_", "GCS_")
"""How variables begin that a store's credentials are in: ranks that read at a URL of a store need them."""


@dataclass(frozen=True)
class Launch:
    """One start.

    Attributes:
        scratch: the directory that it is started in.
        environ: beside what all processes get.
        first: its first order; empty: none.
        hidden: how variables begin that it does not get of what all processes do.
        code: the directory of the user's code; empty: it runs none.
    """

    command: tuple[str, ...]
    scratch: str
    environ: Mapping[str, str] = field(default_factory=dict)
    first: bytes = b""
    hidden: tuple[str, ...] = ()
    code: str = ""

    def environment(self, shared: Mapping[str, str]) -> dict[str, str]:
        """Return the variables of the process; `shared`: those that all get."""
        return {**{name: value for name, value in shared.items() if not name.startswith(self.hidden)}, **self.environ}


def rank(begin: Begin, command: Sequence[str]) -> Launch:
    """Of a rank, which is told all by orders."""
    hidden = (PREFIX,) if _reads_of_store(begin.charter.spec) else (PREFIX, *STORES)
    first = codec.encode(Order(begin=begin))
    return Launch(tuple(command), begin.scratch, first=first, hidden=hidden, code=begin.directory)


def _reads_of_store(spec: TrainingSpec) -> bool:
    datasets = (spec.data.dataset, spec.data.validation)
    urls = [dataset.url.lower() for dataset in datasets if dataset is not None and dataset.url]
    return any(not url.startswith(("http://", "https://", "file:")) for url in urls)


def control(begin: Begin, command: Sequence[str], etcd: str, lease_s: int) -> Launch:
    """Of a control process (modelyard.train.control.config), whose orders are Stops."""
    charter = begin.charter
    options = {
        "id": begin.member,
        "job": charter.job,
        "min-workers": charter.spec.min_workers,
        "max-workers": charter.spec.max_workers,
        "replica": charter.spec.parallelism.replica,
        "epochs": charter.spec.epochs,
        "steps": charter.spec.steps,
        "host": begin.host,
        "etcd": etcd,
        "lease-s": lease_s,
    }
    line = (*command, *(f"--{name}={value}" for name, value in options.items()))
    return Launch(line, begin.scratch, {SECRET: charter.secret})


def stop(charter: Charter) -> bytes:
    """What the control process is told of a job that is to end; empty: it goes on."""
    return codec.encode(Stop(charter.stop)) if charter.stop else b""
