from __future__ import annotations

import io
import re
from contextlib import redirect_stdout
from dataclasses import replace

import pytest

from modelyard.cli.jobs.shown import shown
from modelyard.cli.output import Output
from modelyard.jobs.dataset import Artifact, Dataset
from modelyard.jobs.job import EventKind, Job, JobEvent, Progress
from modelyard.jobs.spec import BatchInference, JobSpec
from modelyard.jobs.states import JobState
from modelyard.jobs.training import Code, TrainingData, TrainingSpec
from modelyard.jobs.training_progress import Measurement, TrainingProgress

DATA = Dataset(url="s3://b/x")
TRAINING = JobSpec(training=TrainingSpec("digits", Code(Artifact("ab" * 32), "recipe"), TrainingData(DATA), epochs=2))
JOB = Job("job-1", "acme", TRAINING, JobState.RUNNING)
GOING = Progress(training=TrainingProgress(5, 10, 0, 2, members=("w1",)))


class Terminal(io.StringIO):
    """Keeps what is written to it."""

    def isatty(self) -> bool:
        return True

    def text(self) -> str:
        """All of it, without what moves the cursor."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.getvalue())


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    return Terminal()


def event(job: Job, number: int = 1) -> JobEvent:
    return JobEvent(EventKind.PROGRESS, number, 1.0, job, measurements=(Measurement(5, {"loss": 0.25}),))


def test_the_view_of_a_training_stays_with_its_curves(terminal: Terminal) -> None:
    with redirect_stdout(terminal), shown(Output(False), JOB) as screen:
        screen.take(event(replace(JOB, state=JobState.SUCCEEDED, progress=GOING)))
        assert screen.stays
    assert not terminal.getvalue().endswith("\x1b[2K")
    last = terminal.text().rpartition("job-1  digits  ")[2].splitlines()
    assert last[0] == "SUCCEEDED"
    (loss,) = (line for line in last if line.startswith("loss"))
    assert loss.endswith("0.25  (0.25 to 0.25)")


def test_what_is_waited_for_is_shown_until_there_is_news(terminal: Terminal) -> None:
    with redirect_stdout(terminal), shown(Output(False), JOB) as screen:
        screen.wait("etcd: away")
        screen.wait("etcd: still away")
        assert screen.waits == "etcd: still away"
        screen.leave()
    assert "no news: etcd: still away; waiting until the suite answers again" in terminal.text()
    terminal.truncate(0)
    with redirect_stdout(terminal), shown(Output(False), JOB) as screen:
        screen.wait("etcd: away")
        screen.take(event(replace(JOB, progress=GOING)))
        assert not screen.waits
    assert "no news" not in terminal.text().rpartition("job-1  digits  ")[2]


def test_the_view_of_rows_goes_when_they_are_done(terminal: Terminal) -> None:
    rows = replace(JOB, spec=JobSpec(BatchInference("digits", DATA, "1")))
    with redirect_stdout(terminal), shown(Output(False), rows) as screen:
        screen.take(event(replace(rows, progress=Progress(10, 5))))
        assert not screen.stays
    assert terminal.getvalue().endswith("\x1b[2K")
