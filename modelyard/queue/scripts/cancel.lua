-- End tasks of a cancelled job, or of one that is being deleted, some at a time.
-- job:{job}:open, job:{job}:closed, job:{job}:parked, job:{job}:running, delayed:{model}
-- ARGV: job, how many
-- Returns how many are left.
-- needs: keys turns entries counts events
local job = ARGV[1]
local key, lane = job_key(job), lane_of(job)
if not lane or (lane.state ~= 'cancelled' and lane.state ~= 'deleting') then return 0 end
redis.call('DEL', key .. ':parked')
local ended = redis.call('SPOP', key .. ':open', ARGV[2])
for _, task in ipairs(ended) do
  remove_entries(job, task, lane)
  redis.call('ZREM', delayed_key(lane.model), job .. '/' .. task)
  end_counting(job, task, lane)
  count(job, lane, 'cancelled', 1)
  redis.call('HDEL', task_key(job, task), 'payload')
  redis.call('HSET', task_key(job, task), 'state', 'cancelled')
  redis.call('SADD', key .. ':closed', task)
  reply(job, task)
end
if redis.call('EXISTS', turns_key(lane.model), delayed_key(lane.model)) == 0 then
  redis.call('DEL', bell_key(lane.model))
end
local left = redis.call('SCARD', key .. ':open')
if left == 0 and #ended > 0 then emit(job, 'drained', '', '') end
return left
