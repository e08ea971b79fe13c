-- Queue a dead letter's task again, with nothing counted against it.
-- job:{job}:dead  stream  its letter is removed
-- ARGV: job, task
-- Returns {'ok'}, {'missing'}, {'refused', the job's state}.
-- needs: keys turns entries counts events
local job, task = ARGV[1], ARGV[2]
local key, lane = task_key(job, task), lane_of(job)
if not lane or redis.call('HGET', key, 'state') ~= 'dead' then return {'missing'} end
if closed(lane) then return {'refused', closed(lane)} end
redis.call('XDEL', job_key(job) .. ':dead', redis.call('HGET', key, 'letter'))
redis.call('HDEL', key, 'letter', 'reason', 'failures', 'deaths')
redis.call('HSET', key, 'state', 'open')
redis.call('SMOVE', job_key(job) .. ':closed', job_key(job) .. ':open', task)
count(job, lane, 'dead', -1)
count(job, lane, 'queued', 1)
add_entry(job, task, lane)
emit(job, 'retried', task, '')
return {'ok'}
