"""Watching a job until it has ended, however often what tells of it goes away in between."""

from __future__ import annotations

import sys
import time

from modelyard import aio
from modelyard.cli.command import Session
from modelyard.cli.jobs import text
from modelyard.cli.jobs.shown import Shown, shown
from modelyard.client import Client
from modelyard.errors import PASSING, DeadlineError
from modelyard.jobs.job import Job
from modelyard.sdk.jobs.outcome import check_succeeded

ANSWER_S = 5.0
"""So long nothing may answer until that is told."""
PAUSE_S = 0.5
"""At least so long it is not asked again: who is refused is refused at once."""


def follow(session: Session, job: Job, after_event: int = 0) -> None:
    """Show what happens to a job until it has ended, then what it has come to.

    Where nothing answers it says so, waits, and goes on when something does.

    Raises:
        ModelyardError: it has not SUCCEEDED; why, nothing else has told.
    """
    client = Client(session.address, tenant=session.tenant, timeout_s=ANSWER_S)
    with client, shown(session.output, job) as screen:
        try:
            ended = _ended(client, job, after_event, screen)
        except KeyboardInterrupt:
            screen.leave()
            if not session.output.as_json:
                print(_goes_on(session, job, screen), file=sys.stderr)
            raise
    if not session.output.as_json:
        session.output.show(None, text.ended(ended, brief=screen.stays))
    check_succeeded(ended)


def _ended(client: Client, job: Job, after_event: int, screen: Shown) -> Job:
    while True:
        try:
            for event in client.jobs.watch(job, after_event):
                after_event = event.event
                screen.take(event)
            return client.jobs.get(job)
        except (*PASSING, DeadlineError) as failure:
            screen.wait(failure.message)
            time.sleep(max(failure.retry_after_s or 0.0, PAUSE_S))


def _goes_on(session: Session, job: Job, screen: Shown) -> str:
    """What becomes of a job that is looked at no more, and how to look at it again."""
    at = "" if session.address == aio.DEFAULT_ADDRESS else f" --address {session.address}"
    when = " when the suite answers again" if screen.waits else ""
    commands = (f"  modelyard jobs {verb} {job.id}{at}" for verb in ("watch", "cancel"))
    return "\n".join((f"{job.id} goes on{when}: show it again, or end it, by", *commands))
