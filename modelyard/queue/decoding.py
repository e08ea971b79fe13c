"""What Redis answers, as records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from modelyard.queue.job_records import JobRecord
from modelyard.queue.records import (
    Claim,
    Counts,
    DeadLetter,
    Depth,
    Ended,
    Ending,
    Event,
    Failed,
    InFlight,
    Job,
    JobState,
    JobStatus,
    Recovered,
    RetryPolicy,
    TaskName,
    TaskState,
    TaskStatus,
)

COUNTS = ("queued", "in_flight", "done", "dead", "cancelled", "delayed")
LOADS = ("queued", "in_flight", "delayed", "dead")
JOB_FIELDS = (
    *("model", "tenant", "priority", "max_failures", "max_deaths", "first_ms", "max_ms", "state", "event"),
    *COUNTS,
)
TASK_FIELDS = ("state", "result", "reason", "attempts", "failures", "deaths")


def text(value: bytes) -> str:
    """A name or a message."""
    return value.decode()


def fields(pairs: Sequence[bytes] | Mapping[bytes, bytes]) -> dict[str, str]:
    """A hash or an entry, however the driver or Lua gives it."""
    if not isinstance(pairs, Mapping):
        pairs = dict(zip(pairs[::2], pairs[1::2], strict=True))
    return {text(key): text(value) for key, value in pairs.items()}


def task_name(member: bytes) -> TaskName:
    """`{job}/{task}`."""
    job, _, task = text(member).partition("/")
    return TaskName(job, task)


def claim(found: Sequence[Any], token: str) -> Claim:
    """What fetch.lua returns."""
    job, task, entry, model, tenant, priority = map(text, found[1:7])
    attempt, failures, deaths, waited_ms = map(int, found[8:12])
    return Claim(
        job=job,
        task=task,
        entry=entry,
        token=token,
        model=model,
        tenant=tenant,
        priority=int(priority),
        payload=found[7],
        attempt=attempt,
        failures=failures,
        deaths=deaths,
        waited_s=waited_ms / 1e3,
    )


def recovered(found: Sequence[bytes]) -> Recovered:
    """One of what recover.lua returns."""
    return Recovered(*map(text, found))


def counts(found: Mapping[str, str]) -> Counts:
    """A job's counters."""
    return Counts(**{name: int(found[name]) for name in COUNTS})


def job_status(job: str, values: Sequence[bytes]) -> JobStatus:
    """JOB_FIELDS of a job's hash."""
    found = {name: text(value) for name, value in zip(JOB_FIELDS, values, strict=True)}
    first_s, max_s = float(found["first_ms"]) / 1e3, float(found["max_ms"]) / 1e3
    policy = RetryPolicy(int(found["max_failures"]), int(found["max_deaths"]), first_s, max_s)
    spec = Job(job, found["model"], found["tenant"], int(found["priority"]), policy)
    return JobStatus(spec, cast("JobState", found["state"]), counts(found), int(found["event"]))


def task_status(task: str, found: Sequence[bytes | None]) -> TaskStatus | None:
    """TASK_FIELDS of a task's hash; None if there is none."""
    state, result, reason, *numbers = found
    if state is None:
        return None
    attempts, failures, deaths = (int(number or 0) for number in numbers)
    known = cast("TaskState", text(state))
    return TaskStatus(task, known, result or b"", text(reason or b""), attempts, failures, deaths)


def ended(found: Sequence[Any]) -> list[Ended]:
    """What ended.lua returns; tasks that are removed just now are left out."""
    first, tasks, statuses = found
    known = [task_status(text(task), values) for task, values in zip(tasks, statuses, strict=True)]
    return [Ended(number, status) for number, status in enumerate(known, first) if status]


def in_flight(found: Sequence[Any]) -> InFlight:
    """One of what running.lua returns."""
    task, age_ms, attempts, *workers = found
    return InFlight(text(task), age_ms / 1e3, attempts, tuple(sorted(map(text, workers))))


def job_record(job: str, found: Sequence[bytes | None]) -> JobRecord | None:
    """Record, revision, epoch and perhaps plan of a job's hash; None if it has no record."""
    record, revision, epoch, *plan = found
    if record is None:
        return None
    return JobRecord(job, record, int(revision or 0), int(epoch or 0), (plan[0] if plan else None) or b"")


def event(entry: Sequence[Any]) -> Event:
    """An entry of a job's events."""
    found = fields(entry[1])
    number = int(text(entry[0]).partition("-")[0])
    return Event(number, found["kind"], found["task"], found["detail"], int(found["at"]) / 1e3, counts(found))


def dead_letter(entry: Sequence[Any]) -> DeadLetter:
    """An entry of a job's dead letters."""
    found = fields(entry[1])
    return DeadLetter(text(entry[0]), found["task"], found["reason"], int(found["failures"]), int(found["deaths"]))


def depths(found: Sequence[Any]) -> list[Depth]:
    """What depths.lua returns."""
    loads, ages = found
    oldest_ms: dict[tuple[str, str], int] = {}
    for model, tenant, age_ms in ages:
        key = (text(tenant), text(model))
        oldest_ms[key] = max(oldest_ms.get(key, 0), age_ms)
    numbers: dict[tuple[str, str], dict[str, int]] = {}
    for tenant, pairs in loads:
        for field, number in fields(pairs).items():
            what, _, model = field.partition(":")
            if model:
                numbers.setdefault((text(tenant), model), {})[what] = int(number)
    return [depth(key, found, oldest_ms.get(key, 0) / 1e3) for key, found in sorted(numbers.items())]


def depth(key: tuple[str, str], loads: Mapping[str, int], oldest_s: float) -> Depth:
    """What a tenant has of a model, by LOADS; those that are absent are 0."""
    queued, in_flight, delayed, dead = (loads.get(what, 0) for what in LOADS)
    return Depth(*key, queued, in_flight, oldest_s, delayed, dead)


def failed(ending: bytes, delay_ms: Sequence[int]) -> Failed:
    """What fail.lua returns."""
    return Failed(cast("Ending", text(ending)), delay_ms[0] / 1e3 if delay_ms else 0.0)


def first_stream(found: Any) -> list[Any]:
    """The entries that XREAD of one stream gives, in either form of the driver; none where time ran out."""
    if not found:
        return []
    entries: list[Any] = next(iter(found.values()))[0] if isinstance(found, dict) else found[0][1]
    return entries
