-- Remove tasks that a job which has ended has left, some at a time, but for its dead letters'; first end those that are
-- open, at last forget what has ended until now.
-- job:{job}          hash  cleared: how many of its endings are forgotten
-- job:{job}:endings  list  tasks, as they became done or dead
-- job:{job}:closed   set   tasks
-- task:{job}/{task}, and those of jobs and cancelling
-- ARGV: job, cursor ('0' at first), how many
-- Returns {'more', cursor}, {'cleared', ''}, {'missing', ''}, {'refused', the phase it is in}.
-- needs: keys turns entries counts events jobs parking replies endings cancelling leftovers
local job = ARGV[1]
local key, lane = job_key(job), lane_of(job)
local found = redis.call('HMGET', key, 'phase', 'ended')
if not lane or not found[1] then return {'missing', ''} end
if not found[2] then return {'refused', found[1]} end
if cancel_some(job, lane, ARGV[3]) > 0 then return {'more', ARGV[2]} end
local page = redis.call('SSCAN', key .. ':closed', ARGV[2], 'COUNT', ARGV[3])
for _, task in ipairs(page[2]) do
  if redis.call('HGET', task_key(job, task), 'state') ~= 'dead' then
    redis.call('SREM', key .. ':closed', task)
    remove_task(job, task, lane)
  end
end
if page[1] ~= '0' then return {'more', page[1]} end
local endings = redis.call('LLEN', key .. ':endings')
redis.call('DEL', key .. ':endings')
redis.call('HINCRBY', key, 'cleared', endings)
set_active(job, lane.tenant, false)
return {'cleared', ''}
