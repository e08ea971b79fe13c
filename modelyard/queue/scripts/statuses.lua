-- Part of scripts that read tasks as they stand.
-- task:{job}/{task}  hash  state, result, reason, attempts, failures, deaths
local function status_of(job, task)
  return redis.call('HMGET', task_key(job, task), 'state', 'result', 'reason', 'attempts', 'failures', 'deaths')
end
