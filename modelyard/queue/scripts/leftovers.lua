-- Part of scripts that remove tasks which have ended.
-- task:{job}/{task}, dedupe:{tenant}:{key}: if the task holds it
local function remove_task(job, task, lane)
  local dedupe = P .. 'dedupe:' .. lane.tenant .. ':' .. (redis.call('HGET', task_key(job, task), 'dedupe') or '')
  if redis.call('GET', dedupe) == job .. '/' .. task then redis.call('DEL', dedupe) end
  redis.call('DEL', task_key(job, task))
end
