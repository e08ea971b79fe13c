-- Bring a job into another state.
-- job:{job}  hash  state: running <-> paused -> cancelled; any -> deleting
-- and those of events and parking
-- ARGV: job, state
-- Returns {'ok'}, {'missing'}, {'refused', the state it is in}.
-- needs: keys turns events parking
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
lane.state = wanted
settle_parked(job, lane)
emit(job, wanted, '', '')
return {'ok'}
