-- Part of scripts that a watch hears of.
-- job:{job}:events  stream  {number}-0: kind, task, detail, at (ms), the job's counters; the last EVENTS
local EVENTS = 1000

local function emit(job, kind, task, detail, now)
  local key = job_key(job)
  local number = redis.call('HINCRBY', key, 'event', 1)
  local counts = redis.call('HMGET', key, 'queued', 'in_flight', 'done', 'dead', 'cancelled', 'delayed')
  redis.call('XADD', key .. ':events', 'MAXLEN', EVENTS, number .. '-0', 'kind', kind, 'task', task, 'detail', detail,
    'at', now or now_ms(), 'queued', counts[1], 'in_flight', counts[2], 'done', counts[3], 'dead', counts[4],
    'cancelled', counts[5], 'delayed', counts[6])
end
