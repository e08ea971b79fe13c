-- Part of every script: the names of keys, the time, and what holds at maxmemory.
-- KEYS[1] is the prefix; its hash tag keeps all keys in one slot. The whole map is in modelyard/queue/script.py.
local P = KEYS[1]
local GROUP, RETURNED = 'workers', '*returned'

local function job_key(job) return P .. 'job:' .. job end
local function task_key(job, task) return P .. 'task:' .. job .. '/' .. task end
local function bell_key(model) return P .. 'bell:' .. model end
local function delayed_key(model) return P .. 'delayed:' .. model end
local function turns_key(model) return P .. 'turns:' .. model end
local function served_key(model) return P .. 'served:' .. model end

-- Redis's clock, the only one: leases, delays and ages do not depend on any other machine's.
local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- At maxmemory Redis refuses a script's first write if that may grow, and none that follow one which frees.
-- What must go on when memory is full frees first, be it nothing.
local function go_on_when_full() redis.call('DEL', P .. 'nothing') end

-- model, tenant and priority say in which stream a job's tasks are.
local function new_lane(model, tenant, priority)
  local name = model .. ':' .. tenant .. ':' .. priority
  return {
    model = model, tenant = tenant, priority = priority, name = name,
    stream = P .. 'tasks:' .. name, ready = P .. 'ready:' .. model .. ':' .. tenant,
  }
end

-- The lane of a job, with the job's state; nil of an unknown job.
local function lane_of(job)
  local found = redis.call('HMGET', job_key(job), 'model', 'tenant', 'priority', 'state', 'ended')
  if not found[1] then return nil end
  local lane = new_lane(found[1], found[2], found[3])
  lane.state, lane.ended = found[4], found[5]
  return lane
end

-- The state in which a job takes no more tasks; nil if it does.
local function closed(lane)
  if lane.state ~= 'running' and lane.state ~= 'paused' then return lane.state end
  return lane.ended and 'ended' or nil
end

local function split(text, separator)
  local at = string.find(text, separator, 1, true)
  return string.sub(text, 1, at - 1), string.sub(text, at + 1)
end
