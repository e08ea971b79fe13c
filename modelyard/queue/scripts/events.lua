-- Part of scripts that a watch or a replica hears of.
-- job:{job}:events  stream  {number}-0: kind, task, detail, at (ms), the job's counters; the last EVENTS
-- job:{job}:dead    stream  dead letters: task, reason, failures, deaths, at (ms)
-- reply:{replica}   list    {job}/{task} of ended tasks; the last REPLIES, for REPLIES_S seconds
local EVENTS, REPLIES, REPLIES_S = 1000, 10000, 3600

local function emit(job, kind, task, detail)
  local key = job_key(job)
  local number = redis.call('HINCRBY', key, 'event', 1)
  local counts = redis.call('HMGET', key, 'queued', 'in_flight', 'done', 'dead', 'cancelled')
  redis.call('XADD', key .. ':events', 'MAXLEN', EVENTS, number .. '-0', 'kind', kind, 'task', task, 'detail', detail,
    'at', now_ms(), 'queued', counts[1], 'in_flight', counts[2], 'done', counts[3], 'dead', counts[4],
    'cancelled', counts[5])
end

local function reply(job, task)
  local replica = redis.call('HGET', task_key(job, task), 'reply')
  if not replica or replica == '' then return end
  local key = P .. 'reply:' .. replica
  redis.call('RPUSH', key, job .. '/' .. task)
  redis.call('LTRIM', key, -REPLIES, -1)
  redis.call('EXPIRE', key, REPLIES_S)
end

-- Its payload stays, for it can be retried.
local function bury(job, task, lane, reason)
  local key = task_key(job, task)
  end_counting(job, task, lane)
  count(job, lane, 'dead', 1)
  local why = redis.call('HMGET', key, 'failures', 'deaths')
  local letter = redis.call('XADD', job_key(job) .. ':dead', '*', 'task', task, 'reason', reason,
    'failures', why[1] or 0, 'deaths', why[2] or 0, 'at', now_ms())
  redis.call('HSET', key, 'state', 'dead', 'reason', reason, 'letter', letter)
  redis.call('SMOVE', job_key(job) .. ':open', job_key(job) .. ':closed', task)
  emit(job, 'dead', task, reason)
  reply(job, task)
end
