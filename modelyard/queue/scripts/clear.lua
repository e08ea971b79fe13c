-- Remove tasks that a job which has ended has left, some at a time, but for its dead letters'.
-- job:{job}:closed  set  tasks
-- task:{job}/{task}, dedupe:{tenant}:{key}, and those of jobs
-- ARGV: job, cursor ('0' at first), how many
-- Returns {'cleared', cursor ('0' at last)}, {'missing', ''}, {'refused', the phase it is in}.
-- needs: keys jobs leftovers
local job = ARGV[1]
local key, lane = job_key(job), lane_of(job)
local found = redis.call('HMGET', key, 'phase', 'ended')
if not lane or not found[1] then return {'missing', ''} end
if not found[2] then return {'refused', found[1]} end
local page = redis.call('SSCAN', key .. ':closed', ARGV[2], 'COUNT', ARGV[3])
for _, task in ipairs(page[2]) do
  if redis.call('HGET', task_key(job, task), 'state') ~= 'dead' then
    redis.call('SREM', key .. ':closed', task)
    remove_task(job, task, lane)
  end
end
if page[1] == '0' then set_active(job, lane.tenant, false) end
return {'cleared', page[1]}
