-- Bring a job into another state.
-- job:{job}         hash  state: running <-> paused -> cancelled; any -> deleting
-- job:{job}:parked  zset  what a fetch set aside: all of it is due when the job runs again
-- delayed:{model}   zset  {job}/{task} -> when it can be fetched again, ms
-- ARGV: job, state
-- Returns {'ok'}, {'missing'}, {'refused', the state it is in}.
-- needs: keys turns counts events
local job, wanted = ARGV[1], ARGV[2]
local ALLOWED = {
  running = {running = true, paused = true, cancelled = true},
  paused = {running = true, paused = true, cancelled = true},
  cancelled = {cancelled = true},
}
local lane = lane_of(job)
if not lane then return {'missing'} end
if wanted ~= 'deleting' and not (ALLOWED[lane.state] or {})[wanted] then return {'refused', lane.state} end
if lane.state == wanted then return {'ok'} end
go_on_when_full()
redis.call('HSET', job_key(job), 'state', wanted)
local parked, delayed = job_key(job) .. ':parked', delayed_key(lane.model)
if wanted == 'running' and redis.call('EXISTS', parked) == 1 then
  redis.call('ZUNIONSTORE', delayed, 2, delayed, parked)
  redis.call('DEL', parked)
  wake(lane.model)
end
emit(job, wanted, '', '')
return {'ok'}
