"""What the agent says to a process of a training job: one JSON object a line on its standard input.

The first has the charter and all that does not change. It reports as a runner does (modelyard.process.Parent): ready,
then beats; silent for some seconds it is killed.
"""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.jobs.gang import Charter
from modelyard.train.control.messages import Failed


@dataclass(frozen=True)
class Begin:
    """What a process of training starts from.

    Attributes:
        member: its name, which no other process of the job has or had.
        host: under which others reach it.
        directory: the user's code, to be read only.
        scratch: a directory of its own, which is removed when it has ended.
        device: "cpu" or "cuda:0" and so on.
        folder: what the job's ranks on this worker share, to be made by them; it is removed when the job has ended.
            Empty: there is none.
        failed: it is not to train, but to say this: why the job cannot go on.
    """

    charter: Charter
    member: str
    host: str
    directory: str
    scratch: str
    device: str = "cpu"
    folder: str = ""
    failed: Failed | None = None


@dataclass(frozen=True)
class Order:
    """What has changed; a field that is None has not.

    Attributes:
        control: host:port of the job's control process; empty: there is none now.
        registries: the live ones, host:port.
    """

    begin: Begin | None = None
    control: str | None = None
    registries: tuple[str, ...] | None = None
