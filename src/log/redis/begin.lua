#!lua flags=allow-oom
-- A new generation of a partition begins, on this server.
--
-- KEYS  1 meta
-- ARGV  1 generation  2 run id  3 since when idempotency keys are complete here, ms since 1970
--
-- STALE  a newer generation has begun already
-- OK     done, by this call or by an earlier one

local generation = redis.call('HGET', KEYS[1], 'generation')
if generation and tonumber(generation) > tonumber(ARGV[1]) then
    return {'STALE'}
end
local run = redis.call('HGET', KEYS[1], 'run')
if generation ~= ARGV[1] or run ~= ARGV[2] then
    redis.call('DEL', KEYS[1])
    redis.call('HSET', KEYS[1], 'generation', ARGV[1], 'run', ARGV[2], 'keys_since', ARGV[3],
        'n', 0, 'archived', 0, 'retired', 0, 'owner', '', 'until', 0, 'token', 0)
end
return {'OK'}
