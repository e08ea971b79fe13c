"""What the leader remembers of a job: how fast it is."""

from __future__ import annotations

from dataclasses import replace

from modelyard import codec
from modelyard.jobs.job import Job
from modelyard.jobs.planning import Plan, Segment
from modelyard.jobs.poison import killed
from modelyard.jobs.states import JobState
from modelyard.jobs.tasks import Outcome, TaskSpec
from modelyard.queue import Counts, TaskStatus
from modelyard_scheduler.jobs.leader.course import Course
from modelyard_scheduler.jobs.outcomes import Outcomes
from modelyard_scheduler.jobs.records import Held
from tests.unit.jobs.submitted import SPEC


def course_of(state: JobState) -> Course:
    """A job of 400 rows in four tasks."""
    held = Held(Job("job-1", "acme", SPEC, state), Plan(400, (Segment(0, 400, 100),)), 1, 1)
    return Course.begin(held, Outcomes(), now_s=0.0)


def done(course: Course, task: str) -> None:
    course.take(TaskStatus(task, "done", codec.encode(Outcome(1.0, "w0"))))


def test_the_time_until_its_model_is_loaded_does_not_count() -> None:
    course = course_of(JobState.RUNNING)
    course.observe(60.0)
    course.ask(Counts(queued=3, in_flight=1))
    course.observe(60.0)
    done(course, "r0-100")
    course.observe(61.0)
    progress = course.progress()
    assert progress.rows_per_s == 100.0
    assert progress.estimated_end_s == 64.0


def test_a_task_whose_runner_died_is_attempted_again_in_parts() -> None:
    course = course_of(JobState.RUNNING)
    split = codec.encode(Outcome(1.0, "w0", parts=killed(TaskSpec(0, 100), 10, 20).parts))
    assert course.take(TaskStatus("r0-100", "done", split)) == 1
    for part in ("r0-10", "r10-20s", "r20-100"):
        done(course, part)
    assert course.progress().retries == 1


def test_pauses_do_not_count() -> None:
    course = course_of(JobState.RUNNING)
    course.ask(Counts(queued=3, in_flight=1))
    done(course, "r0-100")
    course.observe(1.0)
    paused = replace(course.job, state=JobState.PAUSED)
    running, course.held = course.held, course.held._replace(job=paused)
    course.observe(50.0)
    course.held = running
    done(course, "r100-200")
    course.observe(51.0)
    assert course.progress().rows_per_s == 100.0
