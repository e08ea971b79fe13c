-- Part of scripts that remove tasks which have ended.
-- task:{job}/{task}, and those of endings
local function remove_task(job, task, lane)
  let_go_of_key(job, task, lane, redis.call('HGET', task_key(job, task), 'dedupe'))
  redis.call('DEL', task_key(job, task))
end
