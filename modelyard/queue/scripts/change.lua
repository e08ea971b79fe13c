-- Write a job's record anew, if nobody has since it was read.
-- job:{job}  hash  record, plan, revision, epoch, phase, ended; and those of jobs, events and parking
-- ARGV: job, revision that is expected, epoch (0: of no leader), record, plan ('' to leave it), phase,
--   ms until it is forgotten (-1: it has not ended)
-- Returns {'changed', revision}, {'raced'}, {'deposed', the last epoch}, {'missing'} (or
-- it is being deleted).
-- needs: keys turns events parking jobs
local job, expected, epoch, record, plan, phase = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], ARGV[5], ARGV[6]
local key, keep = job_key(job), tonumber(ARGV[7])
local found = redis.call('HMGET', key, 'revision', 'record', 'plan', 'phase', 'tenant', 'ended', 'state')
if not found[1] or found[7] == 'deleting' then return {'missing'} end
local last = deposed(job, epoch)
if last then return {'deposed', last} end
local revision = tonumber(found[1])

-- The driver repeats a change whose answer was lost with its connection.
if revision == expected + 1 and found[2] == record and (plan == '' or plan == found[3]) and found[4] == phase then
  return {'changed', revision}
end
if revision ~= expected then return {'raced'} end

go_on_when_full()
redis.call('HSET', key, 'record', record, 'phase', phase, 'revision', revision + 1)
if plan ~= '' then redis.call('HSET', key, 'plan', plan) end
note_epoch(job, epoch)
if keep >= 0 then
  redis.call('HSET', key, 'ended', 1)
  redis.call('ZADD', P .. 'expiring', now_ms() + keep, job)
elseif found[6] then
  redis.call('HDEL', key, 'ended')
  redis.call('ZREM', P .. 'expiring', job)
  set_active(job, found[5], true)
end
if keep >= 0 or found[6] then settle_parked(job, lane_of(job)) end
if phase ~= found[4] then emit(job, 'state', '', phase) end
return {'changed', revision + 1}
