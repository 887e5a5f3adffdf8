-- A person has a stream on a pod: their first there, or this is said again.
--
-- KEYS  1 meta  2 here  3 grace  4 at  5 pods
-- ARGV  1 generation  2 run id  3 room, 16 bytes  4 person, 16 bytes  5 pod, 16 bytes  6 kind  7 name
--       8 nothing, or that nobody is told  9 channel to publish to, or nothing
--
-- FENCED        as in append.lua
-- OK online said first
--                  done; so many people are in the room now, and this is said of it, or nothing; and whether
--                  the pod had nobody in the room as far as is known here, or nothing

local meta = redis.call('HMGET', KEYS[1], 'generation', 'run')
if meta[1] ~= ARGV[1] or meta[2] ~= ARGV[2] then
    return {'FENCED'}
end
local user, pod, name = ARGV[4], ARGV[5], ARGV[7]
local was = redis.call('HGET', KEYS[2], user)
local pods = pod
if was then
    local _, already = read(was)
    pods = without(already, pod) and already or already .. pod
end
redis.call('HSET', KEYS[2], user, written(ARGV[6], pods, name))
redis.call('ZREM', KEYS[3], ARGV[3] .. user)
local is_first = redis.call('SADD', KEYS[4], ARGV[3]) == 1
redis.call('SADD', KEYS[5], pod)
local online = redis.call('HLEN', KEYS[2])
local said = ''
if not was and ARGV[8] == '' then
    said = say(ARGV[9], shown(user, name), '', online)
end
return {'OK', string.format('%d', online), said, is_first and 'first' or ''}
