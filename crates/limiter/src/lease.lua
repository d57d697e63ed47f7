-- Gives a node units of several limits. Each limit is one key: when its bucket is full again, in microseconds of this
-- server's clock. All numbers are whole and below 2^53, which Lua holds exactly.
--
-- KEYS[1]  the nodes, each with when it was last here
-- KEYS[2…] the limits
-- ARGV     the node, for how many microseconds it counts as live, then for each limit: capacity, unit, need, want, back
-- answers  how many nodes are live, then for each limit: what was given, what is used now
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', now - ARGV[2]))
redis.call('PEXPIRE', KEYS[1], math.ceil(ARGV[2] / 1000))
local answer = { redis.call('ZCARD', KEYS[1]) }
for i = 2, #KEYS do
  local at = 3 + (i - 2) * 5
  local capacity, unit, need = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local want, back = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  local full_at = tonumber(redis.call('GET', KEYS[i]) or now) or now + capacity
  -- More than a whole bucket is used only after this clock was set back, or the limit was made smaller.
  local used = math.min(math.max(full_at - now, 0), capacity)
  used = math.max(used - back, 0)
  local room, given = capacity - used, 0
  if want <= room then
    given = want
  elseif need <= room then
    given = need + math.floor((room - need) / unit) * unit
  end
  used = used + given
  if used > 0 then
    redis.call('SET', KEYS[i], string.format('%.0f', now + used), 'PX', math.ceil(used / 1000))
  elseif back > 0 then
    redis.call('DEL', KEYS[i])
  end
  answer[#answer + 1] = given
  answer[#answer + 1] = used
end
return answer
