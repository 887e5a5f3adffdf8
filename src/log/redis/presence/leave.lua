-- A person has no stream on a pod any more. When no other pod has one their grace begins; others are told after it.
--
-- KEYS  1 meta  2 here  3 grace  4 at  5 pods
-- ARGV  1 generation  2 run id  3 room, 16 bytes  4 person, 16 bytes  5 pod, 16 bytes  6 length of the grace, ms
--       7 nothing, or that the pod has nobody in this room now
--       8 kind and  9 name of somebody who is to be in their grace even if they are not known, or nothing
--
-- FENCED       as in append.lua
-- OK online ''    done

local meta = redis.call('HMGET', KEYS[1], 'generation', 'run')
if meta[1] ~= ARGV[1] or meta[2] ~= ARGV[2] then
    return {'FENCED'}
end
local room, user, pod = ARGV[3], ARGV[4], ARGV[5]
local was = redis.call('HGET', KEYS[2], user)
local kind, pods, name = ARGV[8], nil, ARGV[9]
if was then
    kind, pods, name = read(was)
    pods = without(pods, pod)
elseif kind ~= '' then
    pods = ''
end
if pods then
    redis.call('HSET', KEYS[2], user, written(kind, pods, name))
    if pods == '' then
        redis.call('ZADD', KEYS[3], string.format('%.0f', milliseconds() + tonumber(ARGV[6])), room .. user)
    end
end
if ARGV[7] ~= '' then
    redis.call('SREM', KEYS[4], room)
    if redis.call('EXISTS', KEYS[4]) == 0 then
        redis.call('SREM', KEYS[5], pod)
    end
end
return {'OK', string.format('%d', redis.call('HLEN', KEYS[2])), ''}
