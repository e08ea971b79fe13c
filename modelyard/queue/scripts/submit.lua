-- Make a job known with its record, unless there is one.
-- job:{job}  hash  and those of jobs and events
-- ARGV: job, model, tenant, priority, max_failures, max_deaths, first_ms, max_ms, record, plan, phase, how many active
--   jobs the tenant may have, 1 if Redis has room for another one, how many jobs of the tenant are kept
-- Returns {'record', record, revision, epoch, plan} of the job that is there now, {'other'} (it was opened without a
-- record), {'full', active jobs of the tenant}, {'crowded'}.
-- needs: keys events jobs replies
local job, tenant = ARGV[1], ARGV[3]
local key = job_key(job)
if redis.call('EXISTS', key) == 0 then
  if ARGV[13] ~= '1' then return {'crowded'} end
  local active = redis.call('SCARD', P .. 'active:' .. tenant)
  if active >= tonumber(ARGV[12]) then return {'full', active} end
  create(job, ARGV, 2)
  redis.call('HSET', key, 'record', ARGV[9], 'plan', ARGV[10], 'phase', ARGV[11], 'revision', 1, 'epoch', 0)
  enlist(job, tenant)
  set_active(job, tenant, true)
  emit(job, 'state', '', ARGV[11])
  tell('', job, '')
  crowd_out(tenant, tonumber(ARGV[14]))
end
local found = redis.call('HMGET', key, 'record', 'revision', 'epoch', 'plan')
if not found[1] then return {'other'} end
return {'record', unpack(found)}
