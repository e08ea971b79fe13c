-- Take one claim back: the runner that had it died. A death as in recover; what else its worker has claimed stays.
-- tasks:{model}:{tenant}:{priority}  stream  pending for '*returned'
-- and those of turns, entries, counts, events, endings and losses
-- ARGV: job, task, entry, token
-- Returns {job, task, owner, 'returned', 'superseded' or 'dead'}, {} (stale).
-- needs: keys turns entries counts events replies endings losses
local job, task, entry, token = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local lane = lane_of(job)
if not lane or redis.call('HGET', task_key(job, task), 'e:' .. entry) ~= token then return {} end
redis.call('XCLAIM', lane.stream, GROUP, RETURNED, 0, entry, 'JUSTID')
return take_back(job, task, lane, entry, token)
