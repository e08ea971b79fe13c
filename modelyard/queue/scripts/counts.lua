-- Part of scripts that change a task's state: the counters.
-- job:{job}       hash  queued, delayed, in_flight, done, dead, cancelled: its tasks
-- load:{tenant}   hash  queued:{model}, delayed:{model}, in_flight:{model}, dead:{model}; fields of 0 are removed;
--                       cap: how many it may have in flight, of all models
-- tenants         set   those that have a load
-- job:{job}:running  zset  task in flight -> since when, ms
local LOADS = {queued = true, delayed = true, in_flight = true, dead = true}

local function count_load(lane, what, by)
  local load, field = P .. 'load:' .. lane.tenant, what .. ':' .. lane.model
  local total = redis.call('HINCRBY', load, field, by)
  if total == by then redis.call('SADD', P .. 'tenants', lane.tenant) end
  if total ~= 0 then return end
  redis.call('HDEL', load, field)
  local left = redis.call('HLEN', load)
  if left == 0 or (left == 1 and redis.call('HEXISTS', load, 'cap') == 1) then
    redis.call('DEL', load, P .. 'held:' .. lane.tenant)
    redis.call('SREM', P .. 'tenants', lane.tenant)
  end
end

local function count(job, lane, what, by)
  redis.call('HINCRBY', job_key(job), what, by)
  if by ~= 0 and LOADS[what] then count_load(lane, what, by) end
end

-- More first, so that a load with its cap does not go in between.
local function recount(job, lane, from, to)
  count(job, lane, to, 1)
  count(job, lane, from, -1)
end

-- All that a tenant has, and its cap.
local function load_of(tenant)
  local totals = {queued = 0, delayed = 0, in_flight = 0, dead = 0}
  local load = redis.call('HGETALL', P .. 'load:' .. tenant)
  for at = 1, #load, 2 do
    local what = string.match(load[at], '^[^:]+')
    totals[what] = (totals[what] or 0) + tonumber(load[at + 1])
  end
  return totals
end

local function out_of_flight(job, task, lane)
  redis.call('ZREM', job_key(job) .. ':running', task)
  let_in(lane.tenant)
end

-- The task waits again, queued or delayed, when its last claim has ended.
local function end_claim(job, task, lane, waits)
  if redis.call('HINCRBY', task_key(job, task), 'claims', -1) > 0 then return end
  recount(job, lane, 'in_flight', waits)
  out_of_flight(job, task, lane)
end

-- Out of whatever it counts as, when it has come to its end; with fields of the task that nobody needs any more.
local function end_counting(job, task, lane, ...)
  local found = redis.call('HMGET', task_key(job, task), 'claims', 'delayed')
  redis.call('HDEL', task_key(job, task), 'claims', 'delayed', ...)
  if tonumber(found[1] or 0) > 0 then
    count(job, lane, 'in_flight', -1)
    out_of_flight(job, task, lane)
  else
    count(job, lane, found[2] and 'delayed' or 'queued', -1)
  end
end
