from __future__ import annotations

import io
import math
from dataclasses import replace
from typing import Any

from rich.console import Console

from modelyard.cli.jobs import text
from modelyard.cli.training.view import MOST_CURVES, TrainingView
from modelyard.jobs.dataset import Artifact, Dataset
from modelyard.jobs.job import EventKind, Job, JobEvent, Progress
from modelyard.jobs.spec import JobSpec
from modelyard.jobs.states import JobState
from modelyard.jobs.training import Code, TrainingData, TrainingSpec
from modelyard.jobs.training_progress import Measurement, TrainingProgress

SPEC = TrainingSpec("digits", Code(Artifact("ab" * 32), "recipe"), TrainingData(Dataset(url="s3://b/x")), epochs=2)
JOB = Job("job-1", "acme", JobSpec(training=SPEC), JobState.RUNNING)
GOING = TrainingProgress(150, 200, 1, 2, 1234.5, ("w1", "w2"), 1, 4, 100, 1090.0)


def drawn(view: TrainingView, width: int = 100) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, markup=False, highlight=False, emoji=False).print(view.draw())
    return [line.rstrip() for line in out.getvalue().splitlines()]


def view_of(progress: TrainingProgress | None = None, **changes: Any) -> TrainingView:
    view = TrainingView(replace(JOB, **changes), clock=lambda: 1000.0)
    if progress:
        view.note(progress)
    return view


def test_before_anything_is_known() -> None:
    head, bar, waits = drawn(view_of(state=JobState.QUEUED))
    assert (head, waits) == ("job-1  digits  QUEUED", "0 of at least 1 worker")
    assert not bar.rstrip("━╸╺ ")


def test_while_it_trains() -> None:
    head, bar, course, members = drawn(view_of(GOING))
    assert head == "job-1  digits  RUNNING"
    assert bar.endswith(" step 150 of 200, epoch 2 of 2")
    assert course == "1,234 samples/s, 1 min 30 s left, checkpoint at step 100"
    assert members == "2 of 4 workers: w1, w2"


def test_a_checkpoint_that_could_not_be_saved() -> None:
    course = drawn(view_of(replace(GOING, checkpoint_failure="the store is full")))[2]
    assert course.endswith("checkpoint at step 100, no later one: the store is full")


def test_how_many_workers_it_needs_at_least() -> None:
    assert drawn(view_of(replace(GOING, members=("w1",), min_workers=2)))[-1] == "1 of at least 2 workers"


def test_nobody_is_expected_while_it_is_paused() -> None:
    assert drawn(view_of(state=JobState.PAUSED))[2:] == []


def test_of_a_script_it_says_where_its_output_is() -> None:
    script = JobSpec(training=replace(SPEC, code=Code(Artifact("ab" * 32), "train.py")))
    assert drawn(view_of(spec=script))[2] == "`modelyard logs job-1` shows what the script prints"
    saved = TrainingProgress(max_workers=2, checkpoint_step=3, checkpoint_failure="the store is full")
    course = drawn(view_of(saved, spec=script))[2]
    assert course.endswith("script prints, checkpoint 3, no later one: the store is full")


def test_when_all_steps_are_done_it_says_what_takes_time() -> None:
    assert drawn(view_of(replace(GOING, step=200)))[2] == text.CONCLUDING


def test_many_members_are_counted() -> None:
    many = replace(GOING, members=tuple(f"w{n}" for n in range(9)), max_workers=9)
    assert drawn(view_of(many))[-1] == "9 of 9 workers: w0, w1, w2, w3 and 5 more"


def test_when_it_has_ended_nothing_is_expected_any_more() -> None:
    lines = drawn(view_of(replace(GOING, step=200, epoch=2), state=JobState.SUCCEEDED))
    assert lines[0] == "job-1  digits  SUCCEEDED"
    assert lines[1].endswith(" step 200 of 200, epoch 2 of 2")
    assert lines[2:] == []


def test_curves() -> None:
    view = view_of(GOING)
    view.measure(Measurement(step, {"loss": 8.0 - step, "accuracy": step / 10}) for step in range(1, 8))
    view.measure([Measurement(8, {"loss": math.nan}), Measurement(8, {"validation loss": 5.0})])
    loss, accuracy, validation = (line.rsplit(maxsplit=5) for line in drawn(view)[-3:])
    assert loss == ["loss", "█▇▆▅▃▂▁×", "nan", "(1", "to", "7)"]
    assert accuracy == ["accuracy", "▁▁▂▃▅▆▇█", "0.7", "(0.1", "to", "0.7)"]
    assert validation == ["validation loss", "▁▁▁▁▁▁▁▁", "5", "(5", "to", "5)"]


def test_curves_are_as_wide_as_there_is_room() -> None:
    view = view_of(GOING)
    view.measure(Measurement(step, {"validation loss": math.cos(step / 50), "x" * 50: 1.0}) for step in range(2000))
    for width in (60, 80, 200):
        assert max(map(len, drawn(view, width))) <= width
    assert sum(character in "▁▂▃▄▅▆▇█" for character in drawn(view, 200)[-2]) == 60


def test_there_is_an_end_to_curves_and_nothing_is_hidden() -> None:
    view = view_of(replace(GOING, members=("a\x1b[2J",)))
    view.measure([Measurement(1, {f"m\x1b{n}": 1.0 for n in range(MOST_CURVES + 5)})])
    lines = drawn(view)
    assert len(lines) == 4 + MOST_CURVES
    assert "\x1b" not in "".join(lines)


def test_it_is_fed_by_what_a_watch_tells() -> None:
    view = TrainingView(JOB, clock=lambda: 1000.0)
    going = replace(JOB, progress=Progress(training=GOING))
    view.take(JobEvent(EventKind.PROGRESS, 1, 0.0, going, measurements=(Measurement(150, {"loss": 0.5}),)))
    lines = drawn(view)
    assert lines[1].endswith(" step 150 of 200, epoch 2 of 2")
    assert lines[-1].startswith("loss")
    view.take(JobEvent(EventKind.STATE, 2, 0.0, replace(going, state=JobState.SUCCEEDED)))
    assert drawn(view)[0] == "job-1  digits  SUCCEEDED"
