"""The states of a job, and the one table of how they follow each other."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class JobState(StrEnum):
    """Where a job is in its life."""

    QUEUED = "QUEUED"
    """Accepted; nobody has looked at its data."""
    PLANNING = "PLANNING"
    """Its dataset is opened and counted, its model deployed."""
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    FINISHING = "FINISHING"
    """Every row has its result or was given up; what it has left is put in order."""
    CANCELLING = "CANCELLING"
    SUCCEEDED = "SUCCEEDED"
    PARTIALLY_SUCCEEDED = "PARTIALLY_SUCCEEDED"
    """Some rows were given up."""
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class Actor(StrEnum):
    """Who changes a job: its owner by a call, or the scheduler that leads. Workers change tasks, never jobs."""

    OWNER = "OWNER"
    LEADER = "LEADER"


@dataclass(frozen=True)
class Transition:
    """That a job may go from one state to another, by whom, and when."""

    source: JobState
    target: JobState
    by: Actor
    when: str


_S = JobState
TRANSITIONS = (
    Transition(_S.QUEUED, _S.PLANNING, Actor.LEADER, "its turn has come"),
    Transition(_S.QUEUED, _S.PAUSED, Actor.OWNER, "PauseJob"),
    Transition(_S.QUEUED, _S.CANCELLING, Actor.OWNER, "CancelJob"),
    Transition(_S.QUEUED, _S.FAILED, Actor.LEADER, "its deadline has passed"),
    Transition(_S.PLANNING, _S.QUEUED, Actor.LEADER, "dataset or registry is away: later again"),
    Transition(_S.PLANNING, _S.RUNNING, Actor.LEADER, "its rows are counted and its first tasks queued"),
    Transition(_S.PLANNING, _S.PAUSED, Actor.OWNER, "PauseJob"),
    Transition(_S.PLANNING, _S.CANCELLING, Actor.OWNER, "CancelJob"),
    Transition(_S.PLANNING, _S.FAILED, Actor.LEADER, "its dataset does not fit its model; its deadline has passed"),
    Transition(_S.RUNNING, _S.PAUSED, Actor.OWNER, "PauseJob"),
    Transition(_S.RUNNING, _S.FINISHING, Actor.LEADER, "all rows have ended"),
    Transition(_S.RUNNING, _S.CANCELLING, Actor.OWNER, "CancelJob"),
    Transition(_S.RUNNING, _S.FAILED, Actor.LEADER, "too many dead rows; its deadline has passed; its model is gone"),
    Transition(_S.PAUSED, _S.QUEUED, Actor.OWNER, "ResumeJob, before it was planned"),
    Transition(_S.PAUSED, _S.RUNNING, Actor.OWNER, "ResumeJob"),
    Transition(_S.PAUSED, _S.FINISHING, Actor.LEADER, "the tasks that were in flight were the last"),
    Transition(_S.PAUSED, _S.CANCELLING, Actor.OWNER, "CancelJob"),
    Transition(_S.PAUSED, _S.FAILED, Actor.LEADER, "too many dead rows; its deadline has passed; its model is gone"),
    Transition(_S.FINISHING, _S.SUCCEEDED, Actor.LEADER, "every row has its result"),
    Transition(_S.FINISHING, _S.PARTIALLY_SUCCEEDED, Actor.LEADER, "some rows have none"),
    Transition(_S.FINISHING, _S.FAILED, Actor.LEADER, "no row has one; its results cannot be put together"),
    Transition(_S.FINISHING, _S.CANCELLING, Actor.OWNER, "CancelJob"),
    Transition(_S.CANCELLING, _S.CANCELLED, Actor.LEADER, "its tasks have left the queue"),
    Transition(_S.PARTIALLY_SUCCEEDED, _S.RUNNING, Actor.OWNER, "RetryDeadLetters"),
)
"""All there are. What is not in it does not happen."""

ENDED = frozenset({_S.SUCCEEDED, _S.PARTIALLY_SUCCEEDED, _S.FAILED, _S.CANCELLED})
"""Nothing happens by itself any more."""


def allowed(source: JobState, target: JobState, by: Actor) -> bool:
    """Whether the table has it."""
    return any((t.source, t.target, t.by) == (source, target, by) for t in TRANSITIONS)


def targets(source: JobState, by: Actor) -> tuple[JobState, ...]:
    """Where an actor may take a job from a state, in the order of the table."""
    return tuple(t.target for t in TRANSITIONS if (t.source, t.by) == (source, by))
