"""The queue lane: tasks of jobs, in Redis, pulled by idle workers that have the model READY. Nothing is lost.

The life of a task
1. `open` makes its job known: model@version, tenant, priority (0 first to 9) and retry policy.
2. `enqueue` puts it into the stream of its model, tenant and priority, if the tenant's caps leave room and it, or its
   dedupe key, is not there yet; so enqueueing can be repeated. The doorbell wakes one worker that waits.
3. `fetch` gives it to a worker: of the models that are asked for, the one that was served longest ago, by whomever; of
   its tenants the one that was served least for its weight and has less in flight than it may; of its streams the most
   urgent. What was given back comes first. The claim has a token that nobody else has.
4. While it executes the worker calls `extend` every third of a lease. What is not the worker's any more it is told.
5. `finish` ends it, if the token is live: all its entries leave the stream, the reference of its result is kept, the
   replica that waits is woken. A stale worker changes nothing and hears so.
6. `fail` (the model raised) has it fetched again after a delay that doubles, or makes it a dead letter with its reason.
   `release` hands it back unharmed.
7. `recover` takes it back when its lease ran out, `recover_from` at once when its worker is known to be dead, `lost`
   when only the runner that had it died. All these are counted apart from failures, and past their limit it is a dead
   letter, too. `Claim.deaths` tells who fetches it that it is suspect, and may be bisected.
8. `speculate` gives a slow one a second entry with a token of its own, for another worker: who finishes first wins, the
   other is stale. If both go wrong that is one failure, or one death: of two attempts that are on together only the
   last to go wrong counts, so that speculation does not bury what is merely slow.
9. `pause` keeps it from being fetched: what a fetch finds of it is set aside, some with each fetch. `cancel` ends it,
   `delete` removes all that its job has left.
10. `ended` numbers tasks as they become done or dead, `events` all that happens to a job; `job`, `tasks` and
   `dead_letters` tell how it stands. All of them read what Redis has; `replies` only wakes.

A job with a record
1. `submit` opens it with a record, which is bytes to the queue, unless it is there; `listed` and `active` know it then.
2. Who has read the record (`record`) may `change` it if nobody has since: the revision decides. A change of phase is an
   event among those of its tasks, so that one numbering has all. A leader shows its epoch, here and to `enqueue`; who
   was deposed changes nothing, and hears so.
3. A record says, too, that the job has ended and how long it is kept. Then it takes no tasks any more, and none is
   fetched; `clear` cancels what is open and removes what it has left but for its dead letters, which can be retried
   once the record says that it goes on.
4. `expire` closes it when its time has come, and `delete` forgets it. Redis does not do it by itself: what others hold
   for the job, in etcd, is let go in between.

Delivery is at least once, the result exactly one, for one Redis with its append-only file: not across a fail-over that
loses writes. Each step is one script, so that a crash leaves it done or not done.

When Redis is nearly full `submit` is refused, so that what runs finds room; at maxmemory, too, a leader can queue tasks
of running jobs, and whatever ends work goes on.

Time is Redis's alone, read by the scripts: a lease or a delay is measured by one clock, and no machine's skew can lose
work. If that clock itself jumps, tasks are run early or late, perhaps twice, and still have one result.

`scripts/` has what happens in Redis, each opening with its keys; modelyard/queue/script.py has the whole map.
MemoryQueue is the same queue without Redis, for tests.
"""

from modelyard.queue.checks import bounded
from modelyard.queue.contract import ClaimQueue, JobQueue, TaskQueue, Upkeep
from modelyard.queue.job_records import JobRecord, Listed, Written
from modelyard.queue.record_contract import RecordQueue
from modelyard.queue.records import (
    Caps,
    Claim,
    Counts,
    DeadLetter,
    Depth,
    Ended,
    Event,
    Failed,
    Idle,
    InFlight,
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
from modelyard.queue.redis_records import RedisRecords


class RedisQueue(RedisJobs, RedisRecords, RedisClaims, RedisUpkeep):
    """TaskQueue on Redis."""


__all__ = [
    "Caps",
    "Claim",
    "ClaimQueue",
    "Counts",
    "DeadLetter",
    "Depth",
    "Ended",
    "Event",
    "Failed",
    "Idle",
    "InFlight",
    "Job",
    "JobQueue",
    "JobRecord",
    "JobStatus",
    "Listed",
    "RecordQueue",
    "Recovered",
    "RedisQueue",
    "RetryPolicy",
    "Task",
    "TaskName",
    "TaskQueue",
    "TaskStatus",
    "Upkeep",
    "Written",
    "bounded",
]
