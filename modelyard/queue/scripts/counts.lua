-- Part of scripts that change a task's state: the counters.
-- job:{job}       hash  queued, in_flight, done, dead, cancelled: its tasks
-- load:{tenant}   hash  queued:{model}, in_flight:{model}; fields of 0 are removed
-- tenants         set   those that have a load
-- job:{job}:running  zset  task in flight -> since when, ms
local function count(job, lane, what, by)
  redis.call('HINCRBY', job_key(job), what, by)
  if by == 0 or (what ~= 'queued' and what ~= 'in_flight') then return end
  local load, field = P .. 'load:' .. lane.tenant, what .. ':' .. lane.model
  local total = redis.call('HINCRBY', load, field, by)
  if total == by then redis.call('SADD', P .. 'tenants', lane.tenant) end
  if total ~= 0 then return end
  redis.call('HDEL', load, field)
  if redis.call('EXISTS', load) == 0 then redis.call('SREM', P .. 'tenants', lane.tenant) end
end

local function begin_claim(job, task, lane, now)
  if redis.call('HINCRBY', task_key(job, task), 'claims', 1) > 1 then return end
  count(job, lane, 'queued', -1)
  count(job, lane, 'in_flight', 1)
  redis.call('ZADD', job_key(job) .. ':running', now, task)
end

-- The task is queued again when its last claim has ended.
local function end_claim(job, task, lane)
  if redis.call('HINCRBY', task_key(job, task), 'claims', -1) > 0 then return end
  count(job, lane, 'in_flight', -1)
  count(job, lane, 'queued', 1)
  redis.call('ZREM', job_key(job) .. ':running', task)
end

-- Out of whatever it counts as, when it has come to its end.
local function end_counting(job, task, lane)
  local in_flight = tonumber(redis.call('HGET', task_key(job, task), 'claims') or 0) > 0
  count(job, lane, in_flight and 'in_flight' or 'queued', -1)
  redis.call('ZREM', job_key(job) .. ':running', task)
  redis.call('HDEL', task_key(job, task), 'claims')
end
