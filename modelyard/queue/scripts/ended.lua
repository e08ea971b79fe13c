-- Read what has ended, in that order.
-- job:{job}          hash  cleared: how many were forgotten
-- job:{job}:endings  list  tasks, as they became done or dead
-- and those of statuses
-- ARGV: job, after which number, how many
-- Returns {number of the first, {task, ...}, {what tasks.lua says of it, ...}}.
-- needs: keys statuses
local job, key = ARGV[1], job_key(ARGV[1])
local cleared = tonumber(redis.call('HGET', key, 'cleared') or 0)
local first, statuses = math.max(0, tonumber(ARGV[2]) - cleared), {}
local tasks = redis.call('LRANGE', key .. ':endings', first, first + tonumber(ARGV[3]) - 1)
for at, task in ipairs(tasks) do statuses[at] = status_of(job, task) end
return {cleared + first + 1, tasks, statuses}
