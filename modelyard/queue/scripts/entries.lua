-- Part of scripts that add or remove entries. A task has one entry, or two while a speculative attempt is on.
-- tasks:{model}:{tenant}:{priority}  stream  j: job, t: task; deleted with its last entry
-- lanes                              set     the streams there are
-- rota                               zset    goes with the last stream
-- task:{job}/{task}                  hash    e:{entry}: the claim's token, empty while nobody has claimed it
local function add_entry(job, task, lane)
  if redis.call('EXISTS', lane.stream) == 0 then
    redis.call('XGROUP', 'CREATE', lane.stream, GROUP, '0', 'MKSTREAM')
    redis.call('SADD', P .. 'lanes', lane.name)
  end
  local entry = redis.call('XADD', lane.stream, '*', 'j', job, 't', task)
  redis.call('HSET', task_key(job, task), 'e:' .. entry, '')
  one_more_ready(lane)
end

-- Frees first, so that it passes at maxmemory.
local function remove_entry(job, task, lane, entry, known_token)
  redis.call('XACK', lane.stream, GROUP, entry)
  redis.call('XDEL', lane.stream, entry)
  local field = 'e:' .. entry
  local token = known_token or redis.call('HGET', task_key(job, task), field)
  redis.call('HDEL', task_key(job, task), field)
  if token == '' then one_less_ready(lane) end
  if redis.call('XLEN', lane.stream) == 0 then
    redis.call('DEL', lane.stream)
    redis.call('SREM', P .. 'lanes', lane.name)
    if redis.call('EXISTS', P .. 'lanes') == 0 then redis.call('DEL', P .. 'rota') end
  end
end

local function entries_of(job, task)
  local found = {}
  for _, field in ipairs(redis.call('HKEYS', task_key(job, task))) do
    if string.sub(field, 1, 2) == 'e:' then found[#found + 1] = string.sub(field, 3) end
  end
  return found
end

local function remove_entries(job, task, lane, claimed, token)
  for _, entry in ipairs(entries_of(job, task)) do
    remove_entry(job, task, lane, entry, entry == claimed and token or nil)
  end
end
