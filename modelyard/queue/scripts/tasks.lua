-- Read tasks as they stand.
-- those of statuses
-- ARGV: job, task, ...
-- Returns {state, result, reason, attempts, failures, deaths} of each.
-- needs: keys statuses
local found = {}
for at = 2, #ARGV do found[at - 1] = status_of(ARGV[1], ARGV[at]) end
return found
