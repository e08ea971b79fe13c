-- Queue a dead letter's task again, with nothing counted against it.
-- job:{job}:dead  stream  its letter is removed
-- and those of turns, entries, counts, events and jobs
-- ARGV: job, task, epoch (0: of no leader)
-- Returns {'queued'}, {'alive'} (it is no dead letter), {'missing'}, {'deposed', the last epoch},
-- {'refused', the job's state}.
-- needs: keys turns entries counts events jobs
local job, task, epoch = ARGV[1], ARGV[2], tonumber(ARGV[3])
local key, lane = task_key(job, task), lane_of(job)
local state = lane and redis.call('HGET', key, 'state')
if not state then return {'missing'} end
local last = deposed(job, epoch)
if last then return {'deposed', last} end
if state ~= 'dead' then return {'alive'} end
if closed(lane) then return {'refused', closed(lane)} end
redis.call('XDEL', job_key(job) .. ':dead', redis.call('HGET', key, 'letter'))
redis.call('HDEL', key, 'letter', 'reason', 'failures', 'deaths')
note_epoch(job, epoch)
redis.call('HSET', key, 'state', 'open')
redis.call('SMOVE', job_key(job) .. ':closed', job_key(job) .. ':open', task)
recount(job, lane, 'dead', 'queued')
add_entry(job, task, lane)
emit(job, 'retried', task, '')
return {'queued'}
