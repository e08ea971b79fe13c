"""What members and the control process of a job tell each other: values, encoded by modelyard.codec, one a frame.

A frame is `Envelope`, with exactly one of its fields set. The transport (modelyard.rpc.frames) notices an end that is
silent; a connection that breaks means that the member is lost until it says `hello` on another one. A member whose
connection breaks trains on, looks up the control process in etcd (`training/{job}/control`) and says `hello` again.

A `formation` ends the one before it: who is in an older group drops it first, as if told to `leave` at once. After such
a `leave` nothing need be answered. With the first `finished` the job is over: it is said once nothing is left to do
that needs the group.
"""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.train.control.waiting import Waits
from modelyard.train.position import Position

ALONE_S = 30.0
"""A member that has had no control process for so long holds at the end of a step until it has one again, and says then
that it is not whole. The control process waits for longer before it forms without any of those that had the state: two
halves of a network never both go on."""


@dataclass(frozen=True)
class Hello:
    """The first message of a member on every connection.

    Attributes:
        job: which it trains.
        member: its name, which no other process has or had: worker and number of the start, for instance.
        secret: of the job; others are turned away.
        address: of the network interface by which other members reach it.
        agreement: digests of what must be the same everywhere, as `recipe=...,data=...,seed=...`: who differs from the
            job's is turned away, and told in which of them; one digest of all does it too. Empty: it comes to say how
            it has ended, and trains no more.
        step: the steps it has applied; -1: it has no state yet.
        formation: the last one it belonged to; 0: none. A new control process learns from it.
        whole: whether it trains in that formation now.
    """

    job: str
    member: str
    secret: str
    address: str
    agreement: str
    step: int = -1
    formation: int = 0
    whole: bool = False


@dataclass(frozen=True)
class Formation:
    """A group: control to all its members. Numbers only grow, also over control processes.

    Attributes:
        number: of it; the prefix of its keys in the store.
        members: names, in the order of their ranks.
        addresses: of the members, in the same order.
        store: host:port of a torch.distributed.TCPStore.
        checkpoint: the last one that is known to be whole. If the latest step among the members is before it, they
            resume from it.
    """

    number: int
    members: tuple[str, ...]
    addresses: tuple[str, ...]
    store: str
    checkpoint: Saved | None = None


@dataclass(frozen=True)
class Formed:
    """Member to control: it is in the group, healed, and begins a step."""

    formation: int


@dataclass(frozen=True)
class Healing:
    """Member to control: the state that the formation needs is on its way, and has come further since."""

    formation: int


@dataclass(frozen=True)
class Broken:
    """Member to control: it has dropped the group: a collective failed, or it could not be formed.

    Attributes:
        step: that it has applied.
    """

    formation: int
    step: int
    reason: str


@dataclass(frozen=True)
class Leave:
    """Control to members: drop the group. `at_boundary`: once a step is complete, all after the same one."""

    formation: int
    at_boundary: bool


@dataclass(frozen=True)
class Left:
    """Member to control: it has left at the end of a step, as all have."""

    formation: int
    step: int


@dataclass(frozen=True)
class Committed:
    """Rank 0 to control: all members have applied every step before this position.

    Attributes:
        values: mean loss and metrics over samples since the last of these messages, by name.
        samples: counted since then.
        seconds: that they took.
    """

    position: Position
    values: dict[str, float]
    samples: int
    seconds: float


@dataclass(frozen=True)
class Evaluated:
    """Rank 0 to control: an epoch has ended.

    Attributes:
        step: after which.
        epoch: from 0 on.
        training: means over its samples, by name.
        validation: means over the validation data; empty: there are none.
    """

    step: int
    epoch: int
    training: dict[str, float]
    validation: dict[str, float]


@dataclass(frozen=True)
class Saved:
    """Rank 0 to control: a checkpoint is whole.

    Attributes:
        name: how it is found again.
        before: the names of those before it that are kept as well, the newest first: if it is damaged they are tried.
        instead: the name of one that was found damaged, or gone: from now on this older one is the last; empty: none
            was. Any rank says so that was to read it.
    """

    position: Position
    name: str
    before: tuple[str, ...] = ()
    instead: str = ""


@dataclass(frozen=True)
class Unsaved:
    """Rank 0 to control: a checkpoint could not be saved; training goes on.

    Attributes:
        step: after which it was to be.
        reason: one line.
    """

    step: int
    reason: str


@dataclass(frozen=True)
class Finished:
    """Member to control: training has ended as it should. `version`: that came of it; empty: none."""

    position: Position
    reason: str = ""
    version: str = ""


@dataclass(frozen=True)
class Failed:
    """Member to control: the job cannot go on: the user's code raised, a loss is not finite.

    Attributes:
        reason: one line.
        traceback: of the user's own code; empty: there is none.
    """

    reason: str
    traceback: str = ""


@dataclass(frozen=True)
class Stop:
    """Control to members: end. Told again when it changes: who saves, or that nothing is left to be saved.

    Attributes:
        reason: why.
        save: with a checkpoint, after the step that is being done.
        keeps: whether this member saves its state also if no step is being done: one of them is told so. The others
            that have a state wait until they are told so, or that there is nothing to `save` any more.
    """

    reason: str
    save: bool = True
    keeps: bool = False


@dataclass(frozen=True)
class Over:
    """Control to members: how the job has ended is written down. Who has waited for that may go."""


@dataclass(frozen=True)
class Refused:
    """Control to a member: it will not be part of this job. It ends."""

    reason: str


@dataclass(frozen=True)
class Envelope:
    """One message."""

    hello: Hello | None = None
    formation: Formation | None = None
    formed: Formed | None = None
    healing: Healing | None = None
    broken: Broken | None = None
    leave: Leave | None = None
    left: Left | None = None
    committed: Committed | None = None
    evaluated: Evaluated | None = None
    saved: Saved | None = None
    unsaved: Unsaved | None = None
    waits: Waits | None = None
    finished: Finished | None = None
    failed: Failed | None = None
    stop: Stop | None = None
    over: Over | None = None
    refused: Refused | None = None
