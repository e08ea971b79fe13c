-- Part of scripts that set tasks aside whose job is paused or has ended, and bring them back.
-- job:{job}:parked  list  tasks that are out of their stream, in their order
-- delayed:{model}   zset  {job}/: its parked tasks are to be fetched again, some with each fetch
local function park(job, task) redis.call('RPUSH', job_key(job) .. ':parked', task) end

-- What a job's state says about them, after it has changed.
local function settle_parked(job, lane)
  local delayed = delayed_key(lane.model)
  if lane.state == 'running' and not lane.ended and redis.call('EXISTS', job_key(job) .. ':parked') == 1 then
    redis.call('ZADD', delayed, 0, job .. '/')
    wake(lane.model)
  else
    redis.call('ZREM', delayed, job .. '/')
  end
end

local function let_go_of_parked(job, lane)
  redis.call('DEL', job_key(job) .. ':parked')
  redis.call('ZREM', delayed_key(lane.model), job .. '/')
end
