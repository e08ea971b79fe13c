-- Read tasks as they stand.
-- task:{job}/{task}  hash  state, result, reason, attempts, failures, deaths
-- ARGV: job, task, ...
-- Returns those fields of each.
-- needs: keys
local found = {}
for at = 2, #ARGV do
  found[at - 1] = redis.call('HMGET', task_key(ARGV[1], ARGV[at]), 'state', 'result', 'reason', 'attempts', 'failures',
    'deaths')
end
return found
