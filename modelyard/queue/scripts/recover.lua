-- Give back what nobody has extended for too long, or what a worker that is known to be dead had claimed.
-- sweep   string  since when (ms) someone has looked without a gap; expires after half a lease
-- lanes   set     the streams there are
-- task:{job}/{task}  hash  deaths
-- and those of turns, entries, counts and events
-- ARGV: lease in ms, owner ('' for those whose lease ran out)
-- Returns {job, task, owner, 'returned', 'superseded' or 'dead'} of each.
-- Who could not look could not extend either: by time alone nothing is taken before somebody has looked for a lease.
-- needs: keys turns entries counts events
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

local function give_back(job, task, lane, entry, token)
  local key = task_key(job, task)
  redis.call('HSET', key, 'e:' .. entry, '')
  one_more_ready(lane)
  end_claim(job, task, lane)
  local deaths = redis.call('HINCRBY', key, 'deaths', 1)
  local outcome = 'returned'
  if #entries_of(job, task) > 1 then
    remove_entry(job, task, lane, entry)
    outcome = 'superseded'
  elseif deaths >= tonumber(redis.call('HGET', job_key(job), 'max_deaths')) then
    remove_entry(job, task, lane, entry)
    bury(job, task, lane, 'the worker was lost ' .. deaths .. ' times')
    outcome = 'dead'
  else
    emit(job, 'recovered', task, (split(token, '/')))
  end
  found[#found + 1] = {job, task, (split(token, '/')), outcome}
end

local function take(lane, entries)
  for _, entry in ipairs(entries) do
    if entry then
      local job, task = entry[2][2], entry[2][4]
      local token = redis.call('HGET', task_key(job, task), 'e:' .. entry[1])
      if token and token ~= '' then give_back(job, task, lane, entry[1], token) end
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
