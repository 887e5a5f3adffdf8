-- A pod died: whoever had streams on it, and on no other, is in their grace from now on. A few people at a time.
--
-- KEYS  1 meta  2 here  3 grace  4 at  5 pods
-- ARGV  1 generation  2 run id  3 the owner's token  4 room, 16 bytes  5 pod, 16 bytes  6 length of the grace, ms
--       7 cursor, 0 to begin  8 how many people, about
--
-- FENCED, LOST  as in archived.lua
-- OK cursor     done up to there; 0: the pod has nobody in the room

local meta = redis.call('HMGET', KEYS[1], 'generation', 'run', 'token')
if meta[1] ~= ARGV[1] or meta[2] ~= ARGV[2] then
    return {'FENCED'}
end
if meta[3] ~= ARGV[3] then
    return {'LOST'}
end
local due = string.format('%.0f', milliseconds() + tonumber(ARGV[6]))
local step = redis.call('HSCAN', KEYS[2], ARGV[7], 'COUNT', ARGV[8])
for at = 1, #step[2], 2 do
    local user = step[2][at]
    local kind, pods, name = read(step[2][at + 1])
    pods = without(pods, ARGV[5])
    if pods then
        redis.call('HSET', KEYS[2], user, written(kind, pods, name))
        if pods == '' then
            redis.call('ZADD', KEYS[3], due, ARGV[4] .. user)
        end
    end
end
if step[1] == '0' then
    redis.call('SREM', KEYS[4], ARGV[4])
    if redis.call('EXISTS', KEYS[4]) == 0 then
        redis.call('SREM', KEYS[5], ARGV[5])
    end
end
return {'OK', step[1]}
