-- Give a task in flight a second entry: who finishes first wins, the other is stale.
-- ARGV: job, task
-- Returns 1, or 0: not in flight, or it has two already, or the job does not run.
-- needs: keys turns entries
local job, task = ARGV[1], ARGV[2]
local lane = lane_of(job)
if not lane or lane.state ~= 'running' then return 0 end
local claims = redis.call('HGET', task_key(job, task), 'claims')
if claims ~= '1' or #entries_of(job, task) ~= 1 then return 0 end
add_entry(job, task, lane)
return 1
