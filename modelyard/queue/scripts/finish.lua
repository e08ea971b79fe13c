-- End a task with its result: token live and task not done -> XACK and XDEL of all its entries -> result -> reply,
-- in that order, which passes at maxmemory.
-- task:{job}/{task}  hash  state, result, winner: the token that finished it
-- job:{job}:open, job:{job}:closed  sets of tasks
-- and those of entries, counts and events
-- ARGV: job, task, entry, token, result
-- Returns 1 (finished, maybe by this very claim before), 0 (stale: nothing was changed).
-- needs: keys turns entries counts events
local job, task, entry, token = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local key, lane = task_key(job, task), lane_of(job)
if not lane then return 0 end
if redis.call('HGET', key, 'winner') == token then return 1 end
if redis.call('HGET', key, 'e:' .. entry) ~= token or lane.state == 'cancelled' or lane.state == 'deleting' then
  return 0
end
remove_entries(job, task, lane)
redis.call('HDEL', key, 'payload')
end_counting(job, task, lane)
redis.call('HSET', key, 'state', 'done', 'result', ARGV[5], 'winner', token)
redis.call('SMOVE', job_key(job) .. ':open', job_key(job) .. ':closed', task)
count(job, lane, 'done', 1)
emit(job, 'done', task, '')
reply(job, task)
return 1
