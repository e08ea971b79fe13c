-- Give a task in flight a second entry: who finishes first wins, the other is stale.
-- those of turns, entries and jobs
-- ARGV: job, task, epoch (0: of no leader; a leader's passes at maxmemory)
-- Returns {'ok', 1}, {'ok', 0}: not in flight, or it has two already, or the job does not run; {'deposed', the last epoch}.
-- needs: keys turns entries events jobs
local job, task, epoch = ARGV[1], ARGV[2], tonumber(ARGV[3])
local lane = lane_of(job)
local last = lane and deposed(job, epoch)
if last then return {'deposed', last} end
if not lane or lane.state ~= 'running' or lane.ended then return {'ok', 0} end
local claims = redis.call('HGET', task_key(job, task), 'claims')
if claims ~= '1' or #entries_of(job, task) ~= 1 then return {'ok', 0} end
if epoch > 0 then go_on_when_full() end
add_entry(job, task, lane)
note_epoch(job, epoch)
return {'ok', 1}
