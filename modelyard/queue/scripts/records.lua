-- Read the records of jobs.
-- job:{job}  hash  record, revision, epoch
-- ARGV: job, ...
-- Returns those fields of each.
-- needs: keys
local found = {}
for at = 1, #ARGV do found[at] = redis.call('HMGET', job_key(ARGV[at]), 'record', 'revision', 'epoch') end
return found
