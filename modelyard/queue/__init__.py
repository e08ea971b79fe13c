"""The queue lane: tasks of jobs, in Redis, pulled by idle workers that have the model READY. Nothing is lost.

The life of a task
1. `open` makes its job known: model@version, tenant, priority (0 first to 9) and retry policy.
2. `enqueue` puts it into the stream of its model, tenant and priority, if no cap of the tenant is exceeded and it, or
   its dedupe key, is not there yet; so enqueueing can be repeated. The doorbell wakes one worker that waits.
3. `fetch` gives it to a worker: of the models that are asked for, the tenant that was served least for its weight; of
   its streams the most urgent. What was given back comes first. The claim has a token that nobody else has.
4. While it executes the worker calls `extend` every third of a lease. What is not the worker's any more it is told.
5. `finish` ends it, if the token is live: all its entries leave the stream, the reference of its result is kept, the
   replica that waits is woken. A stale worker changes nothing and hears so.
6. `fail` (the model raised) has it fetched again after a delay that doubles, or makes it a dead letter with its reason.
   `release` hands it back unharmed.
7. `recover` takes it back when its lease ran out, `recover_from` at once when its worker is known to be dead. Lost
   workers are counted apart from failures, and past their limit it is a dead letter, too. `Claim.deaths` tells who
   fetches it that it is suspect, and may be bisected.
8. `speculate` gives a slow one a second entry with a token of its own: who finishes first wins, the other is stale.
9. `pause` keeps it from being fetched, `cancel` ends it, `delete` removes all that its job has left.
10. `job`, `tasks`, `events` and `dead_letters` tell the truth from Redis's hashes and streams; `replies` only wakes.

Delivery is at least once, the result exactly one, for one Redis with its append-only file: not across a fail-over that
loses writes. Each step is one script, so that a crash leaves it done or not done.

Time is Redis's alone, read by the scripts: a lease or a delay is measured by one clock, and no machine's skew can lose
work. If that clock itself jumps, tasks are run early or late, perhaps twice, and still have one result.

`scripts/` has what happens in Redis, each opening with its keys; modelyard/queue/script.py has the whole map.
MemoryQueue is the same queue without Redis, for tests.
"""

from modelyard.queue.contract import ClaimQueue, JobQueue, TaskQueue, Upkeep
from modelyard.queue.records import (
    Caps,
    Claim,
    Counts,
    DeadLetter,
    Depth,
    Event,
    Failed,
    Idle,
    Job,
    JobStatus,
    Recovered,
    RetryPolicy,
    Task,
    TaskName,
    TaskStatus,
)
from modelyard.queue.redis_claims import RedisClaims, RedisUpkeep
from modelyard.queue.redis_jobs import RedisJobs


class RedisQueue(RedisJobs, RedisClaims, RedisUpkeep):
    """TaskQueue on Redis."""


__all__ = [
    "Caps",
    "Claim",
    "ClaimQueue",
    "Counts",
    "DeadLetter",
    "Depth",
    "Event",
    "Failed",
    "Idle",
    "Job",
    "JobQueue",
    "JobStatus",
    "Recovered",
    "RedisQueue",
    "RetryPolicy",
    "Task",
    "TaskName",
    "TaskQueue",
    "TaskStatus",
    "Upkeep",
]
