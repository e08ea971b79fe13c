"""What is shown of a job that is watched: a live view on a terminal, lines elsewhere, events as JSON."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from rich.console import Group, RenderableType
from rich.live import Live

from modelyard.cli.jobs import text
from modelyard.cli.jobs.view import JobView
from modelyard.cli.output import Output, console, to_json, visible, when
from modelyard.cli.training.view import TrainingView
from modelyard.jobs.job import EventKind, Job, JobEvent

REFRESHES_PER_S = 4


class Shown:
    """Takes events, and that there are none for now because nothing answers.

    Attributes:
        waits: for what nothing answers; empty: it does not wait.
        stays: whether what is shown is left there in the end.
    """

    stays = False

    def __init__(self) -> None:
        self.waits = ""

    def take(self, event: JobEvent) -> None:
        """Show an event."""
        self.waits = ""
        self._take(event)

    def wait(self, reason: str) -> None:
        """Show that nothing answers, and why, as far as that is known."""
        if not self.waits:
            self._wait(reason)
        self.waits = reason

    def leave(self) -> None:
        """Show nothing any more."""

    def _take(self, event: JobEvent) -> None:
        raise NotImplementedError

    def _wait(self, reason: str) -> None:
        """It begins to wait."""
        raise NotImplementedError


@contextlib.contextmanager
def shown(output: Output, job: Job) -> Iterator[Shown]:
    """What events are shown on."""
    if output.as_json:
        yield _Documents(output)
        return
    view = TrainingView(job) if job.spec.training else JobView(job)
    if not sys.stdout.isatty():
        yield _Lines(view)
        return
    screen = _Screen(view)
    with screen.live:
        yield screen


class _Documents(Shown):
    """Events for programs."""

    def __init__(self, output: Output) -> None:
        super().__init__()
        self._output = output

    def _take(self, event: JobEvent) -> None:
        self._output.show(document(event))

    def _wait(self, reason: str) -> None:
        print(to_json({"waiting": reason}), file=sys.stderr, flush=True)


class _Lines(Shown):
    """A line for what goes on or wrong; what is begun and done in order, progress tells, how it ends `follow`."""

    def __init__(self, view: JobView | TrainingView) -> None:
        super().__init__()
        self._view = view

    def _take(self, event: JobEvent) -> None:
        self._view.take(event)
        if not (event.job and event.job.ended) and (line := self._line(event)):
            print(f"{when(event.time_s)}  {visible(line)}", flush=True)

    def _line(self, event: JobEvent) -> str:
        job = event.job
        if job is None:
            return text.failure(event)
        if job.spec.training:
            going = text.training_line(job, event.measurements, self._view.now_s)
        else:
            course = text.course(job.progress, self._view.now_s) if event.kind is EventKind.PROGRESS else ""
            going = ": ".join(filter(None, (text.rows(job.progress), course)))
        return ": ".join(filter(None, (text.state(job), going)))

    def _wait(self, reason: str) -> None:
        print(f"{when(time.time())}  {visible(text.waits(reason))}", flush=True)


class _Screen(Shown):
    """A live view. Of a training it stays, with its curves, when the job has ended."""

    def __init__(self, view: JobView | TrainingView, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.stays = isinstance(view, TrainingView)
        self._view = view
        self._clock = clock
        self._since_s = 0.0
        self.live = Live(
            get_renderable=self.draw,
            console=console(sys.stdout),
            refresh_per_second=REFRESHES_PER_S,
            transient=not self.stays,
        )

    def leave(self) -> None:
        self.live.stop()

    def draw(self) -> RenderableType:
        """The view, and for how long nothing has answered."""
        if not (reason := self.waits):
            return self._view.draw()
        waited_s = self._clock() - self._since_s
        return Group(self._view.draw(), visible(text.waits(reason, waited_s)))

    def _take(self, event: JobEvent) -> None:
        self._view.take(event)

    def _wait(self, reason: str) -> None:
        self._since_s = self._clock()


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
