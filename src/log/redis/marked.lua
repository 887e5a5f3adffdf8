#!lua flags=allow-oom
-- The archive has how far people had read these rooms; unless somebody has read further since, that is all.
--
-- KEYS  1 meta  2 marked
-- ARGV  1 generation  2 run id, then for each room: its id, 16 bytes, and which mark it was
--
-- FENCED  as in append.lua
-- OK      done

local meta = redis.call('HMGET', KEYS[1], 'generation', 'run')
if meta[1] ~= ARGV[1] or meta[2] ~= ARGV[2] then
    return {'FENCED'}
end
for at = 3, #ARGV, 2 do
    if redis.call('ZSCORE', KEYS[2], ARGV[at]) == ARGV[at + 1] then
        redis.call('ZREM', KEYS[2], ARGV[at])
    end
end
return {'OK'}
