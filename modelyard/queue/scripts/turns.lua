-- Part of scripts that add or take entries: whose turn it is, shared by all who fetch.
-- turns:{model}   zset  tenant -> cost served / weight, of tenants with something to fetch
-- served:{model}  hash  tenant -> the same, of those who had; '*': where the last one served began
-- ready:{model}:{tenant}  hash  priority -> entries that can be fetched
-- held:{tenant}   set   models that it has something of to fetch and is out of turns for: it has as much in flight as it
--                       may, until less is
-- bell:{model}    list  at most one ring, which wakes one who waits
-- Start-time fair queueing (Goyal, Vin, Cheng 1996): deficit round robin with the deficit as a virtual time.
local function wake(model)
  if redis.call('LLEN', bell_key(model)) == 0 then redis.call('RPUSH', bell_key(model), 1) end
end

local function enter_turns(lane)
  local turns, served = turns_key(lane.model), served_key(lane.model)
  if redis.call('ZSCORE', turns, lane.tenant) then return end
  local found = redis.call('HMGET', served, '*', lane.tenant)
  redis.call('ZADD', turns, math.max(tonumber(found[1] or 0), tonumber(found[2] or 0)), lane.tenant)
end

local function leave_turns(lane)
  local turns, served = turns_key(lane.model), served_key(lane.model)
  local score = redis.call('ZSCORE', turns, lane.tenant)
  if not score then return end
  redis.call('ZREM', turns, lane.tenant)
  if redis.call('EXISTS', turns) == 1 then
    redis.call('HSET', served, lane.tenant, score)
  else
    redis.call('DEL', served, bell_key(lane.model))
  end
end

local function one_more_ready(lane)
  redis.call('HINCRBY', lane.ready, lane.priority, 1)
  enter_turns(lane)
  wake(lane.model)
end

local function one_less_ready(lane)
  if redis.call('HINCRBY', lane.ready, lane.priority, -1) > 0 then return end
  redis.call('HDEL', lane.ready, lane.priority)
  if redis.call('EXISTS', lane.ready) == 0 then leave_turns(lane) end
end

local function hold_back(lane)
  redis.call('SADD', P .. 'held:' .. lane.tenant, lane.model)
  leave_turns(lane)
end

local function let_in(tenant)
  local models = redis.call('SMEMBERS', P .. 'held:' .. tenant)
  if #models == 0 then return end
  redis.call('DEL', P .. 'held:' .. tenant)
  for _, model in ipairs(models) do
    local lane = new_lane(model, tenant, 0)
    if redis.call('EXISTS', lane.ready) == 1 then
      enter_turns(lane)
      wake(model)
    end
  end
end

local function charge(lane, cost)
  local turns = turns_key(lane.model)
  local weight = tonumber(redis.call('HGET', P .. 'weights', lane.tenant) or 1)
  redis.call('HSET', served_key(lane.model), '*', redis.call('ZSCORE', turns, lane.tenant))
  redis.call('ZINCRBY', turns, cost / weight, lane.tenant)
end
