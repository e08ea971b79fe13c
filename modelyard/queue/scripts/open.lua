-- Make a job known, in state running.
-- job:{job}  hash  model, tenant, priority, retry (JSON), state, event (last number), counters
-- ARGV: job, model, tenant, priority, max_failures, max_deaths, first_ms, max_ms
-- Returns {'opened'}, {'exists'} (the same, again), {'other'} (one with that name and other facts).
-- needs: keys turns entries counts events
local job = ARGV[1]
local facts = {'model', 'tenant', 'priority', 'max_failures', 'max_deaths', 'first_ms', 'max_ms'}
if redis.call('EXISTS', job_key(job)) == 1 then
  local found = redis.call('HMGET', job_key(job), unpack(facts))
  for index, value in ipairs(found) do
    if value ~= ARGV[index + 1] then return {'other'} end
  end
  return {'exists'}
end
for index, fact in ipairs(facts) do redis.call('HSET', job_key(job), fact, ARGV[index + 1]) end
redis.call('HSET', job_key(job), 'state', 'running', 'event', 0, 'queued', 0, 'in_flight', 0, 'done', 0, 'dead', 0,
  'cancelled', 0)
emit(job, 'running', '', '')
return {'opened'}
