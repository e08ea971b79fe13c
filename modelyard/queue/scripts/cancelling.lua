-- Part of scripts that end what is open of a job.
-- job:{job}:open, job:{job}:closed  set  tasks that have not ended, that have
-- delayed:{model}                   zset {job}/{task} -> when it can be fetched again, ms
-- and those of turns, entries, counts, events, parking and endings
-- Up to so many of those that are open; returns how many are left.
local function cancel_some(job, lane, limit)
  local key = job_key(job)
  let_go_of_parked(job, lane)
  local ended = redis.call('SPOP', key .. ':open', limit)
  for _, task in ipairs(ended) do
    remove_entries(job, task, lane)
    redis.call('ZREM', delayed_key(lane.model), job .. '/' .. task)
    let_go_of_key(job, task, lane, redis.call('HGET', task_key(job, task), 'dedupe'))
    end_counting(job, task, lane, 'payload', 'dedupe')
    count(job, lane, 'cancelled', 1)
    redis.call('HSET', task_key(job, task), 'state', 'cancelled')
    redis.call('SADD', key .. ':closed', task)
    close(job, task)
  end
  if redis.call('EXISTS', turns_key(lane.model), delayed_key(lane.model)) == 0 then
    redis.call('DEL', bell_key(lane.model))
  end
  local left = redis.call('SCARD', key .. ':open')
  if left == 0 and #ended > 0 then emit(job, 'drained', '', '') end
  return left
end
