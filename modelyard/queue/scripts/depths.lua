-- What there is to do, by tenant and model: reads as much as there are tenants and streams, whatever their length.
-- tenants, load:{tenant}, lanes, tasks:{model}:{tenant}:{priority}
-- Returns {{tenant, {field, number, ...}}, ...} of load, {{model, tenant, ms that its oldest entry has waited}, ...}.
-- needs: keys
local loads, ages = {}, {}
for _, tenant in ipairs(redis.call('SMEMBERS', P .. 'tenants')) do
  loads[#loads + 1] = {tenant, redis.call('HGETALL', P .. 'load:' .. tenant)}
end

local function delivered(stream)
  local facts = redis.call('XINFO', 'GROUPS', stream)[1]
  for at = 1, #facts, 2 do
    if facts[at] == 'last-delivered-id' then return facts[at + 1] end
  end
end

local now = now_ms()
for _, name in ipairs(redis.call('SMEMBERS', P .. 'lanes')) do
  local model, rest = split(name, ':')
  local tenant, priority = split(rest, ':')
  local stream = new_lane(model, tenant, priority).stream
  local first = redis.call('XRANGE', stream, '(' .. delivered(stream), '+', 'COUNT', 1)[1]
  local back = redis.call('XPENDING', stream, GROUP, '-', '+', 1, RETURNED)[1]
  for _, entry in ipairs({back or first, first}) do
    ages[#ages + 1] = {model, tenant, math.max(0, now - tonumber((split(entry[1], '-'))))}
  end
end
return {loads, ages}
