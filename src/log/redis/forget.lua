#!lua flags=allow-oom
-- Retention took everything of a room below `first` out of the archive: here too, of what the archive had.
--
-- KEYS  1 meta  2 room  3 log
-- ARGV  1 generation  2 run id  3 first
--
-- FENCED  as in append.lua
-- OK      done

local meta = redis.call('HMGET', KEYS[1], 'generation', 'run')
if meta[1] ~= ARGV[1] or meta[2] ~= ARGV[2] then
    return {'FENCED'}
end
local room = redis.call('HMGET', KEYS[2], 'first')
if room[1] and tonumber(room[1]) < tonumber(ARGV[3]) then
    redis.call('HSET', KEYS[2], 'first', ARGV[3])
    redis.call('XTRIM', KEYS[3], 'MINID', ARGV[3] .. '-0')
end
return {'OK'}
