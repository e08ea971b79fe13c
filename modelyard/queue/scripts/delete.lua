-- Remove ended tasks of a job that is being deleted, some at a time, and at last the job.
-- job:{job}, job:{job}:closed, job:{job}:events, job:{job}:dead, task:{job}/{task}, dedupe:{tenant}:{key}
-- ARGV: job, how many
-- Returns how many tasks are left.
-- needs: keys
local job = ARGV[1]
local key, lane = job_key(job), lane_of(job)
if not lane then return 0 end
for _, task in ipairs(redis.call('SPOP', key .. ':closed', ARGV[2])) do
  local dedupe = P .. 'dedupe:' .. lane.tenant .. ':' .. (redis.call('HGET', task_key(job, task), 'dedupe') or '')
  if redis.call('GET', dedupe) == job .. '/' .. task then redis.call('DEL', dedupe) end
  redis.call('DEL', task_key(job, task))
end
local left = redis.call('SCARD', key .. ':closed')
if left == 0 then redis.call('DEL', key, key .. ':events', key .. ':dead', key .. ':open', key .. ':running') end
return left
