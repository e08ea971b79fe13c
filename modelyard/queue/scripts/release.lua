-- Give a claim back unharmed: the next fetch of its stream takes it first; nothing counts against it.
-- tasks:{model}:{tenant}:{priority}  stream  pending for '*returned'
-- and those of turns and counts
-- ARGV: job, task, entry, token
-- Returns 1, or 0 (stale).
-- needs: keys turns entries counts
local job, task, entry, token = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local lane = lane_of(job)
if not lane or redis.call('HGET', task_key(job, task), 'e:' .. entry) ~= token then return 0 end
redis.call('XCLAIM', lane.stream, GROUP, RETURNED, 0, entry, 'JUSTID')
redis.call('HSET', task_key(job, task), 'e:' .. entry, '')
end_claim(job, task, lane, 'queued')
one_more_ready(lane)
return 1
