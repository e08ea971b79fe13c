-- Part of scripts that take a claim from an owner who is lost with it; the entry is pending for '*returned' already.
-- While another attempt is on it does not count as a death.
-- task:{job}/{task}  hash  deaths
-- Gives {job, task, owner, 'returned', 'superseded' or 'dead'}.
local function take_back(job, task, lane, entry, token)
  local key, owner, outcome = task_key(job, task), (split(token, '/')), 'returned'
  redis.call('HSET', key, 'e:' .. entry, '')
  one_more_ready(lane)
  end_claim(job, task, lane, 'queued')
  if #entries_of(job, task) > 1 then
    remove_entry(job, task, lane, entry)
    return {job, task, owner, 'superseded'}
  end
  local deaths = redis.call('HINCRBY', key, 'deaths', 1)
  if deaths >= tonumber(redis.call('HGET', job_key(job), 'max_deaths')) then
    remove_entry(job, task, lane, entry)
    bury(job, task, lane, 'the worker was lost ' .. deaths .. ' times')
    outcome = 'dead'
  else
    emit(job, 'recovered', task, owner)
  end
  return {job, task, owner, outcome}
end
