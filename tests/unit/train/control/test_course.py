"""Reports, made of what members say."""

from __future__ import annotations

import pytest

from modelyard.jobs.training_progress import Measurement, TrainingProgress, TrainingReport
from modelyard.train.control.config import Config
from modelyard.train.control.course import Course
from modelyard.train.control.messages import ALONE_S, Committed, Evaluated, Failed, Finished, Saved, Unsaved
from modelyard.train.control.progress import News, State
from modelyard.train.control.waiting import Waits
from modelyard.train.position import Position

CONFIG = Config(epochs=3, min_workers=1, max_workers=2)
TRAINS = State(1, ("w0/a", "w1/b"), 1, trains=True)


def test_what_is_committed_is_merged_by_samples() -> None:
    course = Course(CONFIG, TrainingReport())
    course.take(News(TRAINS, (Committed(Position(1, 0, 10), {"loss": 1.0}, 10, 0.5),)))
    course.take(News(TRAINS, (Committed(Position(3, 0, 40), {"loss": 5.0}, 30, 1.5),)))
    report = course.told()
    assert report.latest == (Measurement(3, {"loss": 4.0}),)
    assert (report.progress.step, report.progress.samples_per_s) == (3, 20.0)
    assert (report.progress.members, report.waiting) == (("w0", "w1"), 1)
    assert (report.progress.epochs, report.progress.steps, report.progress.max_workers) == (3, 0, 2)
    assert course.told().latest == report.latest


def test_an_epochs_end_says_how_many_steps_there_are() -> None:
    course = Course(CONFIG, TrainingReport())
    course.take(News(TRAINS, (), Evaluated(8, 1, {"loss": 1.0}, {"loss": 2.0})))
    course.take(News(TRAINS, (Committed(Position(9, 2, 10), {"loss": 1.0}, 10, 0.5),), saved=Saved(Position(8), "x")))
    report = course.told()
    assert (report.progress.steps, report.progress.step, report.progress.checkpoint_step) == (12, 9, 8)
    assert report.progress.estimated_end_s > 0
    assert report.latest == (Measurement(9, {"loss": 1.0}), Measurement(8, {"validation loss": 2.0}))


def test_one_that_takes_over_goes_on_from_what_was_reported() -> None:
    latest = (Measurement(7, {"loss": 3.0}), Measurement(4, {"validation loss": 2.0}))
    before = TrainingReport(TrainingProgress(step=7, steps=12, checkpoint_step=4), latest)
    course = Course(CONFIG, before)
    assert course.told().progress.step == 7
    course.take(News(State()))
    report = course.told()
    assert (report.latest, report.progress.steps, report.progress.checkpoint_step) == (latest, 12, 4)
    assert report.progress.members == ()
    course.take(News(State(), unsaved=Unsaved(8, "the store is full")))
    assert course.told().progress.checkpoint_failure == "the store is full"
    course.take(News(State(), saved=Saved(Position(9), "x")))
    progress = course.told().progress
    assert (progress.checkpoint_failure, progress.checkpoint_step) == ("", 9)


def test_what_members_spend_is_counted_by_the_clock_whether_they_say_something_or_not() -> None:
    now_s = 1000.0
    course = Course(CONFIG, TrainingReport(), lambda: now_s, lambda: 5 * now_s)
    now_s = 1060.0
    course.take(News(TRAINS))
    now_s = 1061.0
    assert course.told().compute_s == 2.0
    assert course.told().reported_s == 5305.0
    now_s = 1063.0
    course.take(News(State(2, ("w0/a",))))
    assert (course.told().compute_s, course.told().reported_s) == (6.0, 5315.0)
    course.take(News(State()))
    before = course.told()
    now_s = 1070.0
    assert course.told() == before


@pytest.mark.parametrize(("later_s", "spent_s"), [(4.0, 8.0), (10_000.0, 2 * ALONE_S), (-500.0, 0.0)])
def test_what_they_spend_while_nobody_controls_them_is_counted_for_as_long_as_they_train_alone(
    later_s: float, spent_s: float
) -> None:
    before = TrainingReport(TrainingProgress(members=("w0", "w1")), compute_s=10.0, reported_s=1000.0)
    course = Course(CONFIG, before, lambda: 7.0, lambda: 1000.0 + later_s)
    assert course.told().compute_s == 10.0 + spent_s


def test_what_rank_0_waits_for_is_told_until_it_waits_no_more() -> None:
    course = Course(CONFIG, TrainingReport())
    course.take(News(TRAINS, waits=Waits("no registry is live", 7.0)))
    assert (course.told().waits_for, course.told().waits_since_s) == ("no registry is live", 7.0)
    course.take(News(TRAINS))
    assert (course.told().waits_for, course.told().waits_since_s) == ("", 0.0)


@pytest.mark.parametrize("stopped", [False, True])
def test_ends(*, stopped: bool) -> None:
    course = Course(CONFIG, TrainingReport())
    course.take(News(State(), finished=Finished(Position(12), "", "3"), failed=Failed("no", "Traceback")))
    report = course.told(stopped=stopped)
    assert (report.finished, report.version, report.failed, report.traceback) == ("FINISHED", "3", "no", "Traceback")
    assert not report.stopped
    assert Course(CONFIG, TrainingReport()).told(stopped=True).stopped
