-- Part of scripts that know what a job is, and which jobs there are.
-- job:{job}                hash  model, tenant, priority, retry policy, state, event (last number), counters; and of a job
--                                with a record: record, plan, revision (counts both), epoch, phase, ended, cleared
-- jobs, jobs:{tenant}      zset  jobs with a record -> place: later ones have higher ones, each its own
-- active, active:{tenant}  set   those that have not ended, or have left tasks
-- expiring                 zset  those that have ended -> when they are to be forgotten, ms
local FACTS = {'model', 'tenant', 'priority', 'max_failures', 'max_deaths', 'first_ms', 'max_ms'}

local function create(job, given, from)
  for index, fact in ipairs(FACTS) do redis.call('HSET', job_key(job), fact, given[from + index - 1]) end
  redis.call('HSET', job_key(job), 'state', 'running', 'event', 0, 'queued', 0, 'in_flight', 0, 'done', 0, 'dead', 0,
    'cancelled', 0, 'delayed', 0)
end

-- Beyond so many jobs of a tenant the oldest that have ended, and have left no tasks, are to be forgotten now.
local function crowd_out(tenant, most)
  local more = math.min(100, redis.call('ZCARD', P .. 'jobs:' .. tenant) - most)
  if more <= 0 then return end
  for _, job in ipairs(redis.call('ZRANGE', P .. 'jobs:' .. tenant, 0, more - 1)) do
    if redis.call('SISMEMBER', P .. 'active', job) == 0 then
      redis.call('ZADD', P .. 'expiring', 'XX', 'LT', now_ms(), job)
    end
  end
end

-- By Redis's clock, but always above the last.
local function enlist(job, tenant)
  local last = redis.call('ZRANGE', P .. 'jobs', -1, -1, 'WITHSCORES')[2]
  local place = string.format('%.0f', math.max(now_ms(), tonumber(last or 0) + 1))
  redis.call('ZADD', P .. 'jobs', place, job)
  redis.call('ZADD', P .. 'jobs:' .. tenant, place, job)
end

local function set_active(job, tenant, is_active)
  for _, key in ipairs({P .. 'active', P .. 'active:' .. tenant}) do
    redis.call(is_active and 'SADD' or 'SREM', key, job)
  end
end

local function forget(job, tenant)
  set_active(job, tenant, false)
  for _, key in ipairs({P .. 'jobs', P .. 'jobs:' .. tenant, P .. 'expiring'}) do redis.call('ZREM', key, job) end
end

-- An older epoch than the last one's is of a leader that leads no more; 0 is no leader's.
local function deposed(job, epoch)
  local last = tonumber(redis.call('HGET', job_key(job), 'epoch') or 0)
  if epoch > 0 and epoch < last then return last end
  return nil
end

local function note_epoch(job, epoch)
  if epoch > 0 then redis.call('HSET', job_key(job), 'epoch', string.format('%.0f', epoch)) end
end
