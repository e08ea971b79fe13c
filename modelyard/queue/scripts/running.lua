-- The tasks of a job that are longest in flight.
-- job:{job}:running  zset  task -> since when, ms
-- task:{job}/{task}  hash  e:{entry}: the token of its claim, which begins with the worker
-- ARGV: job, how many
-- Returns {task, for how many ms, its entries, workers that have claimed one, ...} of each.
-- needs: keys turns entries
local found, now = {}, now_ms()
local first = redis.call('ZRANGE', job_key(ARGV[1]) .. ':running', 0, tonumber(ARGV[2]) - 1, 'WITHSCORES')
for at = 1, #first, 2 do
  local workers, entries = {}, entries_of(ARGV[1], first[at])
  for _, entry in ipairs(entries) do
    local token = redis.call('HGET', task_key(ARGV[1], first[at]), 'e:' .. entry)
    if token ~= '' then workers[#workers + 1] = (split(token, '/')) end
  end
  found[#found + 1] = {first[at], math.max(0, now - tonumber(first[at + 1])), #entries, unpack(workers)}
end
return found
