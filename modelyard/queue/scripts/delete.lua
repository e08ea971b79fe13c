-- Remove ended tasks of a job that is being deleted, some at a time, and at last the job.
-- job:{job}, job:{job}:closed, job:{job}:events, job:{job}:dead, task:{job}/{task}, dedupe:{tenant}:{key}
-- and those of jobs
-- ARGV: job, how many
-- Returns how many tasks are left.
-- needs: keys jobs leftovers
local job = ARGV[1]
local key, lane = job_key(job), lane_of(job)
if not lane then return 0 end
for _, task in ipairs(redis.call('SPOP', key .. ':closed', ARGV[2])) do
  remove_task(job, task, lane)
end
local left = redis.call('SCARD', key .. ':closed')
if left == 0 then
  redis.call('DEL', key, key .. ':events', key .. ':dead', key .. ':open', key .. ':running')
  forget(job, lane.tenant)
end
return left
