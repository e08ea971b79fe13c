-- Give back what nobody has extended for too long, or what a worker that is known to be dead had claimed.
-- sweep   string  since when (ms) someone has looked without a gap of a lease; expires then
-- lanes   set     the streams there are
-- and those of turns, entries, counts, events, endings and losses
-- ARGV: lease in ms, owner ('' for those whose lease ran out)
-- Returns {job, task, owner, 'returned', 'superseded' or 'dead'} of each.
-- Who could not look could not extend either: by time alone nothing is taken before somebody has looked for a lease,
-- nor, after a gap of more than half a lease, what was extended shortly before it.
-- needs: keys turns entries counts events replies endings losses
local lease, owner = tonumber(ARGV[1]), ARGV[2]
local found = {}
go_on_when_full()

-- For how long a claim may go without being extended; nil: nobody has looked for long enough to say.
local function patience()
  local now = now_ms()
  redis.call('SET', P .. 'sweep', now, 'NX')
  local since, left = tonumber(redis.call('GET', P .. 'sweep')), redis.call('PTTL', P .. 'sweep')
  local gap = left < 0 and 0 or lease - left
  redis.call('PEXPIRE', P .. 'sweep', math.max(1, lease))
  if now - since < lease then return nil end
  return math.floor(lease + math.max(0, gap - lease / 2))
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

local function late(lane, idle)
  local cursor, entries = '0-0', {}
  repeat
    local page = redis.call('XAUTOCLAIM', lane.stream, GROUP, RETURNED, idle, cursor, 'COUNT', 100)
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

local idle = owner == '' and patience()
if owner == '' and not idle then return found end
for _, name in ipairs(redis.call('SMEMBERS', P .. 'lanes')) do
  local model, rest = split(name, ':')
  local lane = new_lane(model, split(rest, ':'))
  take(lane, idle and late(lane, idle) or owned(lane))
end
return found
