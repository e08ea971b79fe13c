"""Who is left out of formations of replicas, because those with it fail."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modelyard.train.control.group import worker_of
from modelyard.train.control.limits import Limits
from modelyard.train.control.messages import Broken, Formed, Left
from modelyard.train.control.probation import FIRST_HOLD_S, LONGEST_HOLD_S
from tests.unit.train.control.test_replicas import LIMITS, Job


class Workers(Job):
    """A job whose workers start a process in the place of each that has ended; some can never be reached."""

    def __init__(self, limits: Limits, unreachable: str) -> None:
        super().__init__(limits)
        self._unreachable = unreachable
        self._started = 0

    def start(self, *workers: str) -> None:
        for worker in workers:
            self._started += 1
            self.come(f"{worker}/{self._started}")

    @property
    def places(self) -> list[str]:
        return [worker_of(member) for member in self.members]

    def try_to_train(self) -> bool:
        """Have the formation train; False: it could not be formed, and all have begun anew."""
        if self._unreachable not in self.places:
            self.say(Formed, *self.members)
            return True
        self.begin_anew()
        return False

    def begin_anew(self) -> None:
        """Have all drop the group, and wait until others have formed."""
        members, places = self.members, self.places
        self.say(Broken, *members)
        self.die(*members)
        before, ends_s = len(self.formations), self.now_s + 2 * LIMITS.return_s
        for place in sorted(places, key=lambda place: place != self._unreachable):  # it is the first to be there again
            self.start(place)
            self.wait(0.5)
        while len(self.formations) == before:
            assert self.now_s < ends_s
            self.wait(0.05)

    def train(self) -> int:
        """Try until it trains; return how often that failed."""
        failures = 0
        while not self.try_to_train():
            failures += 1
        return failures


def test_a_worker_that_can_never_be_reached_is_left_out_and_tried_again_later() -> None:
    job = Workers(LIMITS, "w1")
    job.start("w0", "w1", "w2", "w3")
    assert 2 <= job.train() <= 6
    begun_s, formations = job.now_s, len(job.formations)
    assert job.wake_s <= begun_s + FIRST_HOLD_S
    while not job.leave(formations, at_boundary=True):
        assert job.wake_s < begun_s + LONGEST_HOLD_S
        job.wait(job.wake_s - job.now_s)
    assert job.now_s > begun_s + FIRST_HOLD_S / 2
    job.say(Left, *(members := job.members))
    places = job.places
    job.die(*members)
    job.start(*places)
    job.train()
    assert "w1" not in job.places


@pytest.mark.parametrize("late", ["w4", "w5", "w6"])
def test_a_worker_that_comes_and_cannot_be_reached_is_the_one_that_is_left_out(late: str) -> None:
    job = Workers(replace(LIMITS, replica=1, min_workers=4), late)
    job.start("w0", "w1", "w2", "w3")
    job.say(Formed, *job.members)
    job.wait(LIMITS.steady_s)
    job.start(late)
    job.say(Left, *(members := job.members))
    job.die(*members)
    job.start("w0", "w1", "w2", "w3")
    assert job.train() == 2
    assert sorted(job.places) == ["w0", "w1", "w2", "w3"]


def test_where_all_are_needed_it_is_tried_again_and_again_with_pauses() -> None:
    job = Workers(replace(LIMITS, min_workers=4), "w1")
    job.start("w0", "w1", "w2", "w3")
    at_s = []
    while len(job.formations) < 12:
        assert not job.try_to_train()
        at_s.append(job.now_s)
        assert len(job.members) == 4
    assert at_s[-1] - at_s[-2] > at_s[3] - at_s[2] > 0


def test_failures_with_hours_of_training_between_them_are_not_held_against_anybody() -> None:
    job = Workers(LIMITS, "none")
    job.start("w0", "w1", "w2", "w3")
    for _ in range(6):
        assert job.train() == 0
        job.wait(LIMITS.steady_s)
        job.begin_anew()
        job.begin_anew()
        assert len(job.members) == 4


def test_who_is_lost_is_not_held_against_anybody() -> None:
    trained = Job()
    trained.come("a", "b", "c", "d")
    trained.say(Formed, *trained.members)
    for number in range(2, 8):
        members = trained.members
        trained.die(members[0])
        trained.wait(LIMITS.adopt_s)
        trained.say(Broken, *members[1:])
        trained.die(*members[1:])
        trained.come(*(f"{name}{number}" for name in "abcd"))
        assert len(trained.formations) == number
        trained.say(Formed, *trained.members)
