-- Put tasks into their job's stream: all of those that are not there yet, or none.
-- task:{job}/{task}       hash    payload, reply, cost, dedupe, state
-- job:{job}:open          set     tasks that have not ended
-- dedupe:{tenant}:{key}   string  {job}/{task} that holds the key, for a time (SET NX EX)
-- ARGV: job, max_queued, max_in_flight, max_stream, dedupe_s, epoch (0: of no leader), then of each task id, payload,
--   reply, dedupe, cost
-- Returns {'ok', '' or who holds it, ...}, {'missing'}, {'closed', state}, {'deposed', the last epoch},
-- {'full', which cap, there are, cap}.
-- needs: keys turns entries counts events jobs
local job, dedupe_s, epoch = ARGV[1], ARGV[5], tonumber(ARGV[6])
local lane = lane_of(job)
if not lane then return {'missing'} end
local last = deposed(job, epoch)
if last then return {'deposed', last} end
if closed(lane) then return {'closed', closed(lane)} end

local holders, seen, fresh = {'ok'}, {}, {}
for at = 7, #ARGV, 5 do
  local task, dedupe = ARGV[at], P .. 'dedupe:' .. lane.tenant .. ':' .. ARGV[at + 3]
  local holder = seen[task] or (ARGV[at + 3] ~= '' and (seen[dedupe] or redis.call('GET', dedupe))) or ''
  if holder == '' and redis.call('EXISTS', task_key(job, task)) == 1 then holder = job .. '/' .. task end
  if holder == '' then
    fresh[#fresh + 1] = at
    seen[task] = job .. '/' .. task
    if ARGV[at + 3] ~= '' then seen[dedupe] = job .. '/' .. task end
  end
  holders[#holders + 1] = holder
end
if #fresh == 0 then return holders end

local load = redis.call('HGETALL', P .. 'load:' .. lane.tenant)
local totals = {queued = 0, in_flight = 0}
for at = 1, #load, 2 do
  local what = split(load[at], ':')
  totals[what] = totals[what] + tonumber(load[at + 1])
end
local length = redis.call('XLEN', lane.stream)
if totals.queued + #fresh > tonumber(ARGV[2]) then return {'full', 'queued', totals.queued, ARGV[2]} end
if totals.in_flight >= tonumber(ARGV[3]) then return {'full', 'in flight', totals.in_flight, ARGV[3]} end
if length + #fresh > tonumber(ARGV[4]) then return {'full', 'in the stream', length, ARGV[4]} end

note_epoch(job, epoch)
for _, at in ipairs(fresh) do
  local task, dedupe = ARGV[at], ARGV[at + 3]
  redis.call('HSET', task_key(job, task), 'state', 'open', 'payload', ARGV[at + 1], 'reply', ARGV[at + 2],
    'cost', ARGV[at + 4], 'dedupe', dedupe)
  if dedupe ~= '' then
    redis.call('SET', P .. 'dedupe:' .. lane.tenant .. ':' .. dedupe, job .. '/' .. task, 'NX', 'EX', dedupe_s)
  end
  redis.call('SADD', job_key(job) .. ':open', task)
  add_entry(job, task, lane)
end
count(job, lane, 'queued', #fresh)
return holders
