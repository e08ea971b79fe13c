-- Remove ended tasks of a job that is being deleted, some at a time, and at last the job.
-- job:{job} and all below it, task:{job}/{task}
-- and those of jobs, counts and endings
-- ARGV: job, how many
-- Returns how many tasks are left.
-- needs: keys turns entries counts events jobs parking replies endings leftovers
local job = ARGV[1]
local key, lane = job_key(job), lane_of(job)
if not lane then return 0 end
for _, task in ipairs(redis.call('SPOP', key .. ':closed', ARGV[2])) do
  remove_task(job, task, lane)
end
local left = redis.call('SCARD', key .. ':closed')
if left == 0 then
  local dead = tonumber(redis.call('HGET', key, 'dead'))
  if dead > 0 then count_load(lane, 'dead', -dead) end
  redis.call('DEL', key, key .. ':events', key .. ':dead', key .. ':open', key .. ':running', key .. ':endings')
  forget(job, lane.tenant)
end
return left
