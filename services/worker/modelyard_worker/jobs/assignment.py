"""What the agent and a reader process say to each other: one JSON object a line, by modelyard.codec.

Orders come on the reader's standard input, of which the end says nothing: the agent kills it. Registries is the first.
Reports go to the parent (modelyard.process.Parent), after {"state": "ready"}, which is said before an order is read,
and between heartbeats: silent for some seconds, a reader is killed. When it ends, its attempts are taken for lost if it
was ready, for undone if it was not. After every Begin comes one report with its token, unless it is dropped first.
"""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.catalogue import Signature
from modelyard.jobs.found import Found
from modelyard.jobs.spec import BatchInference
from modelyard.jobs.tasks import StoredPiece


@dataclass(frozen=True)
class Target:
    """Where rows are executed: an instance that is READY.

    Attributes:
        instance: "model@version".
        endpoint: host:port where its runner takes execute streams.
        max_batch_size: rows of a call at most; 0: the deployment sets no bound.
        copies: that share its queue.
    """

    instance: str
    endpoint: str
    signature: Signature
    max_batch_size: int = 0
    copies: int = 1


@dataclass(frozen=True, kw_only=True)
class Begin:
    """To a reader: execute a task.

    Attributes:
        token: of the claim; it names the attempt in all that follows.
        job: its id.
        tenant: whose it is.
        task: its name, modelyard.jobs.tasks.TaskSpec.id.
        cautious_rows: of each call, and it is to be known which one is executed, for one of its rows may kill the
            runner; 0: as many as are good.
    """

    token: str
    job: str
    tenant: str
    task: str
    spec: BatchInference
    found: Found
    target: Target
    cautious_rows: int = 0


@dataclass(frozen=True)
class Drop:
    """To a reader: nobody wants that attempt any more; its calls are cancelled, nothing is said of it."""

    token: str


@dataclass(frozen=True)
class Registries:
    """To a reader: the registry replicas that are live now, host:port."""

    addresses: tuple[str, ...]


@dataclass(frozen=True)
class Order:
    """A line to a reader: one of these."""

    begin: Begin | None = None
    drop: Drop | None = None
    registries: Registries | None = None


@dataclass(frozen=True)
class Executed:
    """Every row has its result, and the pieces are in the artifact store.

    Attributes:
        seconds: that the runner spent on it, all batches together.
    """

    token: str
    seconds: float
    pieces: tuple[StoredPiece, ...]


@dataclass(frozen=True)
class Failed:
    """The model raised, or rows could not be read. Nothing was stored.

    Attributes:
        reason: of the first row at fault, which it names.
        at_fault: the rows, counted as the task counts them; empty: it is none of them that is at fault.
        permanent: they will fail again, for they could not even be read; if none is named it is all of them.
    """

    token: str
    reason: str
    seconds: float
    at_fault: tuple[int, ...] = ()
    permanent: bool = False


@dataclass(frozen=True)
class Lost:
    """The runner died, or was silent for too long, while it may have executed rows of it.

    Attributes:
        begin: the first row of those, counted as the task counts them.
        end: behind the last; 0: it is not known which.
        stuck: it may live and beat, but answers nothing.
    """

    token: str
    reason: str
    begin: int = 0
    end: int = 0
    stuck: bool = False


@dataclass(frozen=True)
class Undone:
    """Nothing is wrong with the task: the registry is away, or the instance was unloaded or lost before it began."""

    token: str
    reason: str


@dataclass(frozen=True)
class Report:
    """A line from a reader: one of these."""

    executed: Executed | None = None
    failed: Failed | None = None
    lost: Lost | None = None
    undone: Undone | None = None
