-- End a claim without a result: the model raised. Later again, or a dead letter. While another attempt is on it does
-- not count: two that were on together are one failure, of the last to fail.
-- delayed:{model}    zset  {job}/{task} -> when it can be fetched again, ms
-- task:{job}/{task}  hash  failures, delayed
-- and those of entries, counts, events and endings
-- ARGV: job, task, entry, token, reason, retryable (1 or 0), jitter (0.5 to 1)
-- Returns {'stale'}, {'superseded'} (another attempt is on), {'retry', delay in ms}, {'dead'}.
-- needs: keys turns entries counts events replies endings
local job, task, entry, token, reason = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local key, lane = task_key(job, task), lane_of(job)
if not lane or redis.call('HGET', key, 'e:' .. entry) ~= token or lane.state == 'cancelled' or lane.state == 'deleting' then
  return {'stale'}
end
remove_entry(job, task, lane, entry, token)
if #entries_of(job, task) > 0 then
  end_claim(job, task, lane, 'queued')
  return {'superseded'}
end
local failures = redis.call('HINCRBY', key, 'failures', 1)
local policy = redis.call('HMGET', job_key(job), 'max_failures', 'first_ms', 'max_ms')
if ARGV[6] == '0' or failures >= tonumber(policy[1]) then
  bury(job, task, lane, reason)
  return {'dead'}
end
local delay = math.min(tonumber(policy[3]), tonumber(policy[2]) * 2 ^ (failures - 1))
delay = math.floor(delay * tonumber(ARGV[7]))
redis.call('ZADD', delayed_key(lane.model), now_ms() + delay, job .. '/' .. task)
redis.call('HSET', key, 'reason', reason, 'delayed', 1)
end_claim(job, task, lane, 'delayed')
emit(job, 'retry', task, reason)
wake(lane.model)
return {'retry', delay}
