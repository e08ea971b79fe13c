-- Put tasks into their job's stream that are not there yet, as many from the front as there is room for.
-- task:{job}/{task}       hash    payload, reply, cost, dedupe, state
-- job:{job}:open          set     tasks that have not ended
-- dedupe:{tenant}:{key}   string  {job}/{task} that holds the key
-- load:{tenant}           hash    cap: how many it may have in flight
-- and those of turns, entries, counts and jobs
-- ARGV: job, max_queued, max_in_flight, max_stream, epoch (0: of no leader; a leader's passes at maxmemory), then of each
--   task id, payload, reply, dedupe, cost
-- Returns {'ok', '' or who holds it, ...}, {'missing'}, {'closed', state}, {'deposed', the last epoch},
-- {'full', which cap, there are, cap}.
-- needs: keys turns entries counts events jobs
local job, epoch = ARGV[1], tonumber(ARGV[5])
local lane = lane_of(job)
if not lane then return {'missing'} end
local last = deposed(job, epoch)
if last then return {'deposed', last} end
if closed(lane) then return {'closed', closed(lane)} end
local load, length = load_of(lane.tenant), redis.call('XLEN', lane.stream)
local waiting, cap = load.queued + load.delayed, tonumber(ARGV[3])
local room = math.min(tonumber(ARGV[2]) - waiting, tonumber(ARGV[4]) - length)

local function holder_of(task, dedupe)
  if redis.call('EXISTS', task_key(job, task)) == 1 then return job .. '/' .. task end
  return dedupe ~= '' and redis.call('GET', P .. 'dedupe:' .. lane.tenant .. ':' .. dedupe) or ''
end

local function begin()
  if epoch > 0 then go_on_when_full() end
  if load.cap ~= cap then
    redis.call('HSET', P .. 'load:' .. lane.tenant, 'cap', cap)
    let_in(lane.tenant)
  end
  note_epoch(job, epoch)
end

local function add(task, at)
  local dedupe = ARGV[at + 3]
  redis.call('HSET', task_key(job, task), 'state', 'open', 'payload', ARGV[at + 1], 'reply', ARGV[at + 2],
    'cost', ARGV[at + 4], 'dedupe', dedupe)
  if dedupe ~= '' then redis.call('SET', P .. 'dedupe:' .. lane.tenant .. ':' .. dedupe, job .. '/' .. task) end
  redis.call('SADD', job_key(job) .. ':open', task)
  add_entry(job, task, lane)
end

local holders, added = {'ok'}, 0
for at = 6, #ARGV, 5 do
  local holder = holder_of(ARGV[at], ARGV[at + 3])
  if holder == '' then
    if added >= room then break end
    if added == 0 then begin() end
    add(ARGV[at], at)
    added = added + 1
  end
  holders[#holders + 1] = holder
end
if added > 0 then
  count(job, lane, 'queued', added)
elseif #holders - 1 < (#ARGV - 5) / 5 then
  if waiting >= tonumber(ARGV[2]) then return {'full', 'waiting', waiting, ARGV[2]} end
  return {'full', 'in the stream', length, ARGV[4]}
end
return holders
