-- Claim one task of a model that the worker has READY. Never blocks, and does the same work however many wait: of a stream
-- whose first tasks are of paused or ended jobs it sets ASIDE aside, then goes on to the next.
-- delayed:{model}     zset  {job}/{task} -> when it can be fetched again, ms
-- job:{job}:running   zset  task in flight -> since when, ms
-- task:{job}/{task}   hash  attempts, claims, e:{entry}
-- fetched:{worker}:{slot}  string  its last claim, token first, so that a repeated fetch gets it again; expires
-- rota                zset  model -> in the order in which they were served last, by anyone; the last MODELS
-- and those of turns, entries, counts, events and parking
-- ARGV: worker, slot, token, model, ...
-- Returns {'claim', job, task, entry, model, tenant, priority, payload, attempt, failures, deaths, waited_ms},
-- {'again'} (there was only what had to be set aside, and more of it), {'idle', ms until a delayed task is due or -1}.
-- needs: keys turns entries counts events parking
local worker, slot, token, FIRST = ARGV[1], ARGV[2], ARGV[3], 4
local PROMOTED, ASIDE, REMEMBERED_S, MODELS = 16, 16, 600, 1000
local now, more, passed_over = now_ms(), false, {}
local fetched = P .. 'fetched:' .. worker .. ':' .. slot

local function unpark(member, job)
  local parked, lane = job_key(job) .. ':parked', lane_of(job)
  for _, task in ipairs(redis.call('LPOP', parked, PROMOTED) or {}) do add_entry(job, task, lane) end
  if redis.call('EXISTS', parked) == 0 then redis.call('ZREM', delayed_key(lane.model), member) end
end

local function promote(model)
  local due = redis.call('ZRANGEBYSCORE', delayed_key(model), '-inf', now, 'LIMIT', 0, PROMOTED)
  for _, member in ipairs(due) do
    local job, task = split(member, '/')
    if task == '' then
      unpark(member, job)
    else
      local lane = lane_of(job)
      redis.call('ZREM', delayed_key(model), member)
      redis.call('HDEL', task_key(job, task), 'delayed')
      recount(job, lane, 'delayed', 'queued')
      add_entry(job, task, lane)
    end
  end
end

-- What was given back comes before what is new.
local function read_entry(lane, after)
  local back = redis.call('XPENDING', lane.stream, GROUP, after, '+', 1, RETURNED)[1]
  if back then return redis.call('XCLAIM', lane.stream, GROUP, worker, 0, back[1])[1], true end
  local read = redis.call('XREADGROUP', 'GROUP', GROUP, worker, 'COUNT', 1, 'STREAMS', lane.stream, '>')
  return read and read[1][2][1], false
end

local function set_aside(job, task, lane, entry, state)
  remove_entry(job, task, lane, entry, '')
  if (state == 'running' or state == 'paused') and #entries_of(job, task) == 0 then park(job, task) end
end

-- Whether it is a second attempt of what this worker has already: that is for others.
local function has_other_attempt(job, task)
  for _, entry in ipairs(entries_of(job, task)) do
    local other = redis.call('HGET', task_key(job, task), 'e:' .. entry)
    if other ~= '' and split(other, '/') == worker then return true end
  end
  return false
end

local function pass_over(lane, entry, was_back)
  redis.call('XCLAIM', lane.stream, GROUP, RETURNED, 0, entry, 'JUSTID')
  if not was_back then passed_over[lane.model] = true end
end

local function facts_of(job, task)
  return redis.call('HMGET', task_key(job, task), 'payload', 'attempts', 'failures', 'deaths', 'claims', 'cost')
end

local function answer(job, task, lane, entry, facts)
  local waited = math.max(0, now - tonumber((split(entry, '-'))))
  return {'claim', job, task, entry, lane.model, lane.tenant, lane.priority, facts[1], tonumber(facts[2]),
    facts[3] or 0, facts[4] or 0, waited}
end

-- The models that are asked for, whose turn was longest ago first; those that had none, as they are named.
local function by_turn()
  local models, last = {}, {}
  for at = FIRST, #ARGV do
    models[#models + 1] = at
    last[at] = tonumber(#ARGV > FIRST and redis.call('ZSCORE', P .. 'rota', ARGV[at]) or 0)
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
  for at = FIRST, #ARGV do
    if redis.call('EXISTS', turns_key(ARGV[at]), delayed_key(ARGV[at])) > 0 then wake(ARGV[at]) end
  end
end

local function claim(job, task, lane, entry, facts)
  local key, claims = task_key(job, task), tonumber(facts[5] or 0) + 1
  facts[2] = tonumber(facts[2] or 0) + 1
  redis.call('HSET', key, 'e:' .. entry, token, 'attempts', facts[2], 'claims', claims)
  if claims == 1 then
    recount(job, lane, 'queued', 'in_flight')
    redis.call('ZADD', job_key(job) .. ':running', now, task)
  end
  charge(lane, tonumber(facts[6]))
  one_less_ready(lane)
  took_turn(lane.model)
  pass_on_rings()
  emit(job, 'started', task, worker, now)
  redis.call('SET', fetched, table.concat({token, job, task, entry}, ' '), 'EX', REMEMBERED_S)
  return answer(job, task, lane, entry, facts)
end

local function from_lane(lane)
  local after, aside = '-', 0
  repeat
    local entry, was_back = read_entry(lane, after)
    if not entry then return nil end
    local id, job, task = entry[1], entry[2][2], entry[2][4]
    local state, facts = redis.call('HMGET', job_key(job), 'state', 'ended'), facts_of(job, task)
    if state[1] ~= 'running' or state[2] then
      set_aside(job, task, lane, id, state[1])
      aside = aside + 1
    elseif facts[5] and facts[5] ~= '0' and has_other_attempt(job, task) then
      pass_over(lane, id, was_back)
      after = '(' .. id
    else
      return claim(job, task, lane, id, facts)
    end
  until aside == ASIDE or redis.call('HEXISTS', lane.ready, lane.priority) == 0
  more = more or aside == ASIDE
  return nil
end

-- The tenant that was served least for its weight comes first, and its most urgent stream; the next one where there is
-- nothing for this worker.
local function from_model(model)
  promote(model)
  local rank = 0
  while true do
    local tenant = redis.call('ZRANGE', turns_key(model), rank, rank)[1]
    if not tenant then return nil end
    local lane, load = new_lane(model, tenant, 0), load_of(tenant)
    if load.cap and load.in_flight >= load.cap then
      hold_back(lane)
    else
      local priorities = redis.call('HKEYS', lane.ready)
      table.sort(priorities)
      for _, priority in ipairs(priorities) do
        local found = from_lane(new_lane(model, tenant, priority))
        if found then return found end
      end
      if redis.call('ZSCORE', turns_key(model), tenant) then rank = rank + 1 end
    end
  end
end

-- The driver repeats a fetch whose answer was lost with its connection: the claim must not be lost with it.
local function claimed_before()
  local last = redis.call('GET', fetched)
  if not last then return nil end
  local token_before, job, task, entry = string.match(last, '^(%S+) (%S+) (%S+) (%S+)$')
  if token_before ~= token or redis.call('HGET', task_key(job, task), 'e:' .. entry) ~= token then return nil end
  return answer(job, task, lane_of(job), entry, facts_of(job, task))
end

local function idle()
  local due = -1
  for at = FIRST, #ARGV do
    redis.call('DEL', bell_key(ARGV[at]))
    if passed_over[ARGV[at]] then wake(ARGV[at]) end
    local first = redis.call('ZRANGE', delayed_key(ARGV[at]), 0, 0, 'WITHSCORES')
    local left = first[2] and math.max(0, tonumber(first[2]) - now)
    if left and (due < 0 or left < due) then due = left end
  end
  return {'idle', due}
end

local before = claimed_before()
if before then return before end
for _, model in ipairs(by_turn()) do
  local found = from_model(model)
  if found then return found end
end
return more and {'again'} or idle()
