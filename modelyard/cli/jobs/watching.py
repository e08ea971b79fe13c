"""Watching a job: a live view on a terminal, lines elsewhere, events as JSON."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

from rich.live import Live

from modelyard.cli.command import Session
from modelyard.cli.jobs import text
from modelyard.cli.jobs.view import JobView
from modelyard.cli.output import console, visible, when
from modelyard.cli.training.view import TrainingView
from modelyard.client import Client
from modelyard.jobs.job import EventKind, Job, JobEvent
from modelyard.jobs.training_progress import TrainingProgress
from modelyard.sdk.jobs.outcome import check_succeeded

REFRESHES_PER_S = 4


def follow(session: Session, client: Client, job: Job, after_event: int = 0) -> None:
    """Show what happens to a job until it has ended, then what it has come to.

    Raises:
        ModelyardError: it has not SUCCEEDED; why, nothing else has told.
    """
    try:
        with _shown(session, job) as show:
            for event in client.jobs.watch(job, after_event):
                show(event)
    except KeyboardInterrupt:
        if not session.output.as_json:
            print(f"{job.id} goes on: `modelyard jobs watch {job.id}`, or `cancel`", file=sys.stderr)
        raise
    ended = client.jobs.get(job)
    if not session.output.as_json:
        session.output.show(None, text.ended(ended))
    check_succeeded(ended)


@contextlib.contextmanager
def _shown(session: Session, job: Job) -> Iterator[Callable[[JobEvent], None]]:
    """What is to be called with every event."""
    if session.output.as_json:
        yield lambda event: session.output.show(document(event))
        return
    view = TrainingView(job) if job.spec.training else JobView(job)
    if not sys.stdout.isatty():
        yield lambda event: _print(view, event)
        return
    screen = console(sys.stdout)
    with Live(get_renderable=view.draw, console=screen, refresh_per_second=REFRESHES_PER_S, transient=True):
        yield view.take


def _print(view: JobView | TrainingView, event: JobEvent) -> None:
    """A line, if something went on or wrong; what is begun and done in order, progress tells, how it ends `follow`."""
    view.take(event)
    if event.job and event.job.ended:
        return
    line = text.failure(event)
    if event.job and event.job.spec.training:
        progress = event.job.progress.training or TrainingProgress()
        concluding = text.CONCLUDING if text.is_concluding(event.job, progress) else ""
        course = concluding or text.training_course(progress, view.now_s)
        going = (text.steps(progress), text.values(event.measurements), course)
        line = ": ".join(filter(None, (text.state(event.job), ", ".join(filter(None, going)))))
    elif event.job:
        said = text.course(event.job.progress, view.now_s) if event.kind is EventKind.PROGRESS else ""
        line = ": ".join(filter(None, (text.state(event.job), text.rows(event.job.progress), said)))
    if line:
        print(f"{when(event.time_s)}  {visible(line)}", flush=True)


def document(event: JobEvent) -> dict[str, object]:
    """An event for programs."""
    return {
        "kind": event.kind,
        "event": event.event,
        "time_s": event.time_s,
        "job": text.document(event.job) if event.job else None,
        "task": event.task,
        "measurements": event.measurements,
    }
