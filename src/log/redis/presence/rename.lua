-- A person has another name now. Nobody is told; it is the one that they leave with.
--
-- KEYS  1 meta  2 here
-- ARGV  1 generation  2 run id  3 person, 16 bytes  4 name
--
-- FENCED       as in append.lua
-- OK online ''    done, if they are here

local meta = redis.call('HMGET', KEYS[1], 'generation', 'run')
if meta[1] ~= ARGV[1] or meta[2] ~= ARGV[2] then
    return {'FENCED'}
end
local was = redis.call('HGET', KEYS[2], ARGV[3])
if was then
    local kind, pods = read(was)
    redis.call('HSET', KEYS[2], ARGV[3], written(kind, pods, ARGV[4]))
end
return {'OK', string.format('%d', redis.call('HLEN', KEYS[2])), ''}
