-- Claim one task of a model that the worker has READY. Never blocks.
-- delayed:{model}     zset  {job}/{task} -> when it can be fetched again, ms
-- job:{job}:parked    zset  {job}/{task} out of the stream while the job is paused, in their order
-- job:{job}:running   zset  task in flight -> since when, ms
-- task:{job}/{task}   hash  attempts, claims, e:{entry}
-- fetched:{worker}    string  its last claim, token first, so that a repeated fetch gets it again; expires
-- rota                zset  model -> in the order in which they were served last, by anyone; the last MODELS
-- and those of turns and entries
-- ARGV: worker, token, model, ...
-- Returns {'claim', job, task, entry, model, tenant, priority, payload, attempt, failures, deaths, waited_ms},
-- {'again'} (much was parked), {'idle', ms until a delayed task is due or -1}.
-- needs: keys turns entries counts
local worker, token = ARGV[1], ARGV[2]
local PROMOTED, PARKED, REMEMBERED_S, MODELS = 16, 64, 30, 1000
local now = now_ms()

local function promote(model)
  local due = redis.call('ZRANGEBYSCORE', delayed_key(model), '-inf', now, 'LIMIT', 0, PROMOTED)
  for _, member in ipairs(due) do
    redis.call('ZREM', delayed_key(model), member)
    local job, task = split(member, '/')
    add_entry(job, task, lane_of(job))
  end
end

-- The tenant that was served least for its weight, and its most urgent stream.
local function next_lane(model)
  local first = redis.call('ZRANGE', turns_key(model), 0, 0)[1]
  if not first then return nil end
  local urgent = nil
  for _, priority in ipairs(redis.call('HKEYS', P .. 'ready:' .. model .. ':' .. first)) do
    if not urgent or priority < urgent then urgent = priority end
  end
  return new_lane(model, first, urgent)
end

-- What was given back comes before what is new.
local function read_entry(lane)
  local back = redis.call('XPENDING', lane.stream, GROUP, '-', '+', 1, RETURNED)[1]
  if back then return redis.call('XCLAIM', lane.stream, GROUP, worker, 0, back[1])[1] end
  return redis.call('XREADGROUP', 'GROUP', GROUP, worker, 'COUNT', 1, 'STREAMS', lane.stream, '>')[1][2][1]
end

local function set_aside(job, task, lane, entry)
  remove_entry(job, task, lane, entry)
  if redis.call('HGET', job_key(job), 'state') == 'paused' and #entries_of(job, task) == 0 then
    local key = job_key(job) .. ':parked'
    redis.call('ZADD', key, redis.call('ZCARD', key), job .. '/' .. task)
  end
end

local function answer(job, task, lane, entry)
  local facts = redis.call('HMGET', task_key(job, task), 'payload', 'attempts', 'failures', 'deaths')
  local waited = math.max(0, now - tonumber((split(entry, '-'))))
  return {'claim', job, task, entry, lane.model, lane.tenant, lane.priority, facts[1], facts[2], facts[3] or 0,
    facts[4] or 0, waited}
end

-- The models that are asked for, whose turn was longest ago first; those that had none, as they are named.
local function by_turn()
  local models, last = {}, {}
  for at = 3, #ARGV do
    models[at - 2] = at
    last[at] = tonumber(#ARGV > 3 and redis.call('ZSCORE', P .. 'rota', ARGV[at]) or 0)
  end
  table.sort(models, function(one, other)
    if last[one] ~= last[other] then return last[one] < last[other] end
    return one < other
  end)
  for place, at in ipairs(models) do models[place] = ARGV[at] end
  return models
end

local function took_turn(model)
  local last = redis.call('ZRANGE', P .. 'rota', -1, -1, 'WITHSCORES')
  if last[1] == model then return end
  redis.call('ZADD', P .. 'rota', string.format('%.0f', tonumber(last[2] or 0) + 1), model)
  redis.call('ZREMRANGEBYRANK', P .. 'rota', 0, -1 - MODELS)
end

-- Whoever was woken for one model may have been given a task of another.
local function pass_on_rings()
  for at = 3, #ARGV do
    if redis.call('EXISTS', turns_key(ARGV[at]), delayed_key(ARGV[at])) > 0 then wake(ARGV[at]) end
  end
end

local function claim(job, task, lane, entry)
  local key = task_key(job, task)
  redis.call('HSET', key, 'e:' .. entry, token)
  redis.call('HINCRBY', key, 'attempts', 1)
  begin_claim(job, task, lane, now)
  charge(lane, tonumber(redis.call('HGET', key, 'cost')))
  one_less_ready(lane)
  took_turn(lane.model)
  pass_on_rings()
  redis.call('SET', P .. 'fetched:' .. worker, table.concat({token, job, task, entry}, ' '), 'EX', REMEMBERED_S)
  return answer(job, task, lane, entry)
end

-- The driver repeats a fetch whose answer was lost with its connection: the claim must not be lost with it.
local function claimed_before()
  local last = redis.call('GET', P .. 'fetched:' .. worker)
  if not last then return nil end
  local token_before, job, task, entry = string.match(last, '^(%S+) (%S+) (%S+) (%S+)$')
  if token_before ~= token or redis.call('HGET', task_key(job, task), 'e:' .. entry) ~= token then return nil end
  return answer(job, task, lane_of(job), entry)
end

local before = claimed_before()
if before then return before end

local parked = 0
for _, model in ipairs(by_turn()) do
  promote(model)
  local lane = next_lane(model)
  while lane do
    local entry = read_entry(lane)
    local job, task = entry[2][2], entry[2][4]
    if redis.call('HGET', job_key(job), 'state') == 'running' then return claim(job, task, lane, entry[1]) end
    set_aside(job, task, lane, entry[1])
    parked = parked + 1
    if parked == PARKED then return {'again'} end
    lane = next_lane(model)
  end
end

local due = -1
for at = 3, #ARGV do
  redis.call('DEL', bell_key(ARGV[at]))
  local first = redis.call('ZRANGE', delayed_key(ARGV[at]), 0, 0, 'WITHSCORES')
  local left = first[2] and math.max(0, tonumber(first[2]) - now)
  if left and (due < 0 or left < due) then due = left end
end
return {'idle', due}
