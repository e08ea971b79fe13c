-- Part of scripts that end tasks.
-- job:{job}:open, job:{job}:closed  set     tasks that have not ended, that have
-- job:{job}:endings                 list    tasks, as they became done or dead
-- job:{job}:dead                    stream  dead letters: task, reason, failures, deaths, at (ms)
-- dedupe:{tenant}:{key}             string  {job}/{task} that holds the key

-- Out of what is open, and told to who waits for it.
local function close(job, task)
  redis.call('SMOVE', job_key(job) .. ':open', job_key(job) .. ':closed', task)
  local replica = redis.call('HGET', task_key(job, task), 'reply')
  if replica and replica ~= '' then tell(replica, job, task) end
end

local function let_go_of_key(job, task, lane, name)
  if not name or name == '' then return end
  local key = P .. 'dedupe:' .. lane.tenant .. ':' .. name
  if redis.call('GET', key) == job .. '/' .. task then redis.call('DEL', key) end
end

-- Its payload stays, and its dedupe key, for it can be retried.
local function bury(job, task, lane, reason)
  local key = task_key(job, task)
  count(job, lane, 'dead', 1)
  end_counting(job, task, lane)
  local why = redis.call('HMGET', key, 'failures', 'deaths')
  local letter = redis.call('XADD', job_key(job) .. ':dead', '*', 'task', task, 'reason', reason,
    'failures', why[1] or 0, 'deaths', why[2] or 0, 'at', now_ms())
  redis.call('HSET', key, 'state', 'dead', 'reason', reason, 'letter', letter)
  redis.call('RPUSH', job_key(job) .. ':endings', task)
  emit(job, 'dead', task, reason)
  close(job, task)
end
