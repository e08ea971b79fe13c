-- Keep claims alive: what is still the worker's own is idle for 0 ms again; its delivery count stays.
-- task:{job}/{task}                  hash    e:{entry}: the token
-- tasks:{model}:{tenant}:{priority}  stream  XPENDING, XCLAIM JUSTID
-- ARGV: worker, then job, task, entry, token of each claim
-- Returns 1 or 0 (stale) for each.
-- needs: keys
local kept = {}
for at = 2, #ARGV, 4 do
  local job, entry = ARGV[at], ARGV[at + 2]
  local lane = lane_of(job)
  local own = lane and redis.call('HGET', task_key(job, ARGV[at + 1]), 'e:' .. entry) == ARGV[at + 3]
    and redis.call('XPENDING', lane.stream, GROUP, entry, entry, 1, ARGV[1])[1]
  if own then redis.call('XCLAIM', lane.stream, GROUP, ARGV[1], 0, entry, 'JUSTID') end
  kept[#kept + 1] = own and 1 or 0
end
return kept
