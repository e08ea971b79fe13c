-- Close the jobs that are to be forgotten by now, the longest due first: nobody can change them any more.
-- expiring   zset  job -> when, ms; it is told until it is deleted
-- job:{job}  hash  state: deleting; and those of events
-- ARGV: how many
-- Returns jobs.
-- needs: keys events
local due = redis.call('ZRANGEBYSCORE', P .. 'expiring', '-inf', now_ms(), 'LIMIT', 0, ARGV[1])
go_on_when_full()
for _, job in ipairs(due) do
  if redis.call('HGET', job_key(job), 'state') ~= 'deleting' then
    redis.call('HSET', job_key(job), 'state', 'deleting')
    emit(job, 'deleting', '', '')
  end
end
return due
