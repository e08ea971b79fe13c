-- The tasks of a job that are longest in flight.
-- job:{job}:running  zset  task -> since when, ms
-- ARGV: job, how many
-- Returns {task, for how many ms} of each.
-- needs: keys
local found, now = {}, now_ms()
local first = redis.call('ZRANGE', job_key(ARGV[1]) .. ':running', 0, tonumber(ARGV[2]) - 1, 'WITHSCORES')
for at = 1, #first, 2 do found[#found + 1] = {first[at], math.max(0, now - tonumber(first[at + 1]))} end
return found
