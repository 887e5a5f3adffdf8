#!lua flags=allow-oom
-- Takes a partition for a pod, or keeps it, for a time by the server's clock.
--
-- KEYS  1 meta
-- ARGV  1 generation  2 run id  3 pod  4 for how long, ms; 0 gives it back
--
-- FENCED        as in append.lua
-- TAKEN         another pod has it
-- OK token      it is this pod's: the token that its writes carry

local meta = redis.call('HMGET', KEYS[1], 'generation', 'run', 'owner', 'until', 'token')
if meta[1] ~= ARGV[1] or meta[2] ~= ARGV[2] then
    return {'FENCED'}
end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local is_mine = meta[3] == ARGV[3]
if not is_mine and tonumber(meta[4]) > now then
    return {'TAKEN'}
end
local token = tonumber(meta[5])
if not is_mine then
    token = token + 1
end
-- Who gives it back and takes it again begins anew: what it had read and not finished meanwhile is read once more.
local owner = ARGV[4] == '0' and '' or ARGV[3]
redis.call('HSET', KEYS[1], 'owner', owner, 'token', token, 'until', string.format('%.0f', now + tonumber(ARGV[4])))
return {'OK', string.format('%.0f', token)}
