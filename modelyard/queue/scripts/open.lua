-- Make a job known, in state running.
-- job:{job}  hash  model, tenant, priority, retry (JSON), state, event (last number), counters
-- ARGV: job, model, tenant, priority, max_failures, max_deaths, first_ms, max_ms
-- Returns {'opened'}, {'exists'} (the same, again), {'other'} (one with that name and other facts).
-- needs: keys events jobs
local job = ARGV[1]
if redis.call('EXISTS', job_key(job)) == 1 then
  local found = redis.call('HMGET', job_key(job), unpack(FACTS))
  for index, value in ipairs(found) do
    if value ~= ARGV[index + 1] then return {'other'} end
  end
  return {'exists'}
end
create(job, ARGV, 2)
emit(job, 'running', '', '')
return {'opened'}
