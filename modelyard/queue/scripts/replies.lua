-- Part of scripts that wake a scheduler.
-- reply:{replica}  list  {job}/{task} of ended tasks; for whoever leads, without a name: {job}/ of new jobs; the last
--                        REPLIES, for REPLIES_S seconds
local REPLIES, REPLIES_S = 10000, 3600

local function tell(replica, job, task)
  local key = P .. 'reply:' .. replica
  redis.call('RPUSH', key, job .. '/' .. task)
  redis.call('LTRIM', key, -REPLIES, -1)
  redis.call('EXPIRE', key, REPLIES_S)
end

