-- A page of the jobs that have a record, the newest first.
-- jobs, jobs:{tenant}  zset  job -> place
-- ARGV: tenant ('': of all), below which place (0: of all), how many
-- Returns {job, place} of each.
-- needs: keys
local key = ARGV[1] == '' and P .. 'jobs' or P .. 'jobs:' .. ARGV[1]
local below, found = ARGV[2] == '0' and '+inf' or '(' .. ARGV[2], {}
local page = redis.call('ZREVRANGEBYSCORE', key, below, '-inf', 'WITHSCORES', 'LIMIT', 0, ARGV[3])
for at = 1, #page, 2 do found[#found + 1] = {page[at], tonumber(page[at + 1])} end
return found
