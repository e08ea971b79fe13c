-- Give back what nobody has extended for too long, or what a worker that is known to be dead had claimed.
-- sweep   string  since when (ms) someone has looked without a gap; expires after half a lease
-- lanes   set     the streams there are
-- and those of turns, entries, counts, events and losses
-- ARGV: lease in ms, owner ('' for those whose lease ran out)
-- Returns {job, task, owner, 'returned', 'superseded' or 'dead'} of each.
-- Who could not look could not extend either: by time alone nothing is taken before somebody has looked for a lease.
-- needs: keys turns entries counts events losses
local lease, owner = tonumber(ARGV[1]), ARGV[2]
local found = {}
go_on_when_full()

local function looked_long_enough()
  local now = now_ms()
  redis.call('SET', P .. 'sweep', now, 'NX')
  local since = tonumber(redis.call('GET', P .. 'sweep'))
  redis.call('PEXPIRE', P .. 'sweep', math.max(1, math.floor(lease / 2)))
  return now - since >= lease
end

local function take(lane, entries)
  for _, entry in ipairs(entries) do
    if entry then
      local job, task = entry[2][2], entry[2][4]
      local token = redis.call('HGET', task_key(job, task), 'e:' .. entry[1])
      if token and token ~= '' then found[#found + 1] = take_back(job, task, lane, entry[1], token) end
    end
  end
end

local function late(lane)
  local cursor, entries = '0-0', {}
  repeat
    local page = redis.call('XAUTOCLAIM', lane.stream, GROUP, RETURNED, lease, cursor, 'COUNT', 100)
    cursor = page[1]
    for _, entry in ipairs(page[2]) do entries[#entries + 1] = entry end
  until cursor == '0-0'
  return entries
end

local function owned(lane)
  local entries = {}
  for _, pending in ipairs(redis.call('XPENDING', lane.stream, GROUP, '-', '+', 10000, owner)) do
    entries[#entries + 1] = redis.call('XCLAIM', lane.stream, GROUP, RETURNED, 0, pending[1])[1]
  end
  redis.call('XGROUP', 'DELCONSUMER', lane.stream, GROUP, owner)
  return entries
end

if owner == '' and not looked_long_enough() then return found end
for _, name in ipairs(redis.call('SMEMBERS', P .. 'lanes')) do
  local model, rest = split(name, ':')
  local lane = new_lane(model, split(rest, ':'))
  take(lane, owner == '' and late(lane) or owned(lane))
end
return found
