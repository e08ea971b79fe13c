from __future__ import annotations

import itertools

import pytest

from modelyard.errors import PreconditionError
from modelyard.jobs.job import Job
from modelyard.jobs.lifecycle import cancel, moved, pause, resume, revive
from modelyard.jobs.states import ENDED, TRANSITIONS, Actor, JobState, targets
from tests.unit.jobs.submitted import job


def revive_one(job: Job, now_s: float) -> Job:
    return revive(job, 1, now_s)


STEPS = {(t.source, t.target) for t in TRANSITIONS}
WISHES = {
    pause: {"QUEUED": "PAUSED", "PLANNING": "PAUSED", "RUNNING": "PAUSED", "PAUSED": "PAUSED"},
    resume: {"PAUSED": "QUEUED", "QUEUED": "QUEUED", "PLANNING": "PLANNING", "RUNNING": "RUNNING"},
    cancel: {
        "QUEUED": "CANCELLING",
        "PLANNING": "CANCELLING",
        "RUNNING": "CANCELLING",
        "PAUSED": "CANCELLING",
        "FINISHING": "CANCELLING",
        "CANCELLING": "CANCELLING",
        "CANCELLED": "CANCELLED",
    },
    revive_one: {"RUNNING": "RUNNING", "PAUSED": "PAUSED", "PARTIALLY_SUCCEEDED": "RUNNING"},
}


@pytest.mark.parametrize(("source", "target", "by"), list(itertools.product(JobState, JobState, Actor)))
def test_a_job_moves_as_the_table_says_and_not_otherwise(source: JobState, target: JobState, by: Actor) -> None:
    if any((t.source, t.target, t.by) == (source, target, by) for t in TRANSITIONS):
        assert moved(job(source), target, by, 105.0).state is target
    else:
        with pytest.raises(PreconditionError, match=f"to become {target}, it is {source}"):
            moved(job(source), target, by, 105.0)


def test_no_transition_is_told_twice() -> None:
    assert len({(t.source, t.target, t.by) for t in TRANSITIONS}) == len(TRANSITIONS)
    assert all(t.when and t.source is not t.target for t in TRANSITIONS)


def test_every_state_is_reached_and_leads_to_an_end() -> None:
    assert reach(JobState.QUEUED) == set(JobState)
    for state in set(JobState) - ENDED:
        assert reach(state) & ENDED
    for state in ENDED:
        assert not targets(state, Actor.LEADER)


def test_what_is_under_way_can_be_cancelled_until_it_has_ended() -> None:
    can = {state for state in JobState if JobState.CANCELLING in targets(state, Actor.OWNER)}
    assert can == set(JobState) - ENDED - {JobState.CANCELLING}


@pytest.mark.parametrize(("wish", "state"), list(itertools.product(WISHES, JobState)))
def test_wishes_follow_the_table(wish: object, state: JobState) -> None:
    assert callable(wish)
    expected = WISHES[wish].get(state)
    if expected:
        assert wish(job(state), 105.0).state == expected
        assert expected == state or any(
            (t.source, t.target, t.by) == (state, expected, Actor.OWNER) for t in TRANSITIONS
        )
    else:
        with pytest.raises(PreconditionError, match=rf"job job-1: expected it .*, it is {state}$"):
            wish(job(state), 105.0)


def reach(state: JobState) -> set[JobState]:
    """Where one can come from a state, it included."""
    found = {state}
    while more := {target for source, target in STEPS if source in found} - found:
        found |= more
    return found
