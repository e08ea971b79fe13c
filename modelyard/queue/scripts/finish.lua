-- End a task with its result: token live and task not done -> XACK and XDEL of all its entries -> result -> reply,
-- in that order, which passes at maxmemory.
-- task:{job}/{task}  hash  state, result, winner: the token that finished it
-- job:{job}:endings  list  tasks, as they became done or dead
-- and those of entries, counts, events and endings
-- ARGV: job, task, entry, token, result
-- Returns 1 (finished, maybe by this very claim before), 0 (stale: nothing was changed).
-- needs: keys turns entries counts events replies endings
local job, task, entry, token = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local key, lane = task_key(job, task), lane_of(job)
if not lane then return 0 end
local found = redis.call('HMGET', key, 'winner', 'e:' .. entry, 'dedupe')
if found[1] == token then return 1 end
if found[2] ~= token or lane.state == 'cancelled' or lane.state == 'deleting' then return 0 end
remove_entries(job, task, lane, entry, token)
end_counting(job, task, lane, 'payload', 'dedupe')
let_go_of_key(job, task, lane, found[3])
redis.call('HSET', key, 'state', 'done', 'result', ARGV[5], 'winner', token)
redis.call('RPUSH', job_key(job) .. ':endings', task)
count(job, lane, 'done', 1)
emit(job, 'done', task, '')
close(job, task)
return 1
